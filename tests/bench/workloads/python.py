# Classes, dictionaries, strings, generators, integers of any size.
class Node:
    __slots__ = ("key", "left", "right", "count")

    def __init__(self, key):
        self.key, self.left, self.right, self.count = key, None, None, 1


def insert(root, key):
    while True:
        if key == root.key:
            root.count += 1
            return
        side = "left" if key < root.key else "right"
        child = getattr(root, side)
        if child is None:
            setattr(root, side, Node(key))
            return
        root = child


def walk(node):
    if node:
        yield from walk(node.left)
        yield node.key, node.count
        yield from walk(node.right)


seed, root, words = 1, Node("m"), {}
for i in range(15000):
    seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
    word = "".join(chr(97 + (seed >> s) % 26) for s in (3, 8, 13))
    insert(root, word)
    words[word] = words.get(word, 0) + len(word)
print(sum(count * len(key) for key, count in walk(root)), len(words))

primes, composite = [], bytearray(60000)
for n in range(2, len(composite)):
    if not composite[n]:
        primes.append(n)
        for m in range(n * n, len(composite), n):
            composite[m] = 1
print(len(primes), sum(primes))

product = 1
for p in primes[:700]:
    product *= p
print(product % 1000000007, sum(map(int, str(product))))
print(sorted(words, key=lambda w: (w[::-1], words[w]))[:5])
