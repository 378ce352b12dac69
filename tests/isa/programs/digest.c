/* Work as compilers make it, as one digest a line: sorting, SHA-256, matrices of doubles, strings. */
#include <stddef.h>
#include <stdint.h>

int main(void);
void putbytes(const char *bytes, size_t length);
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);

void *memcpy(void *to, const void *from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int value, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((volatile char *)to)[i] = (char)value;
	return to;
}

static uint64_t seed = 88172645463325252u;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint32_t state[8], constants[64];

/* The first 32 bits of the fractional parts of roots of primes, from integers alone. */
static uint32_t root_bits(unsigned prime, unsigned power)
{
	uint64_t low = 0, high = (uint64_t)prime << 32;

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		unsigned __int128 product = middle;
		int above = 0;

		for (unsigned i = 1; i < power && !above; i++) {
			product *= middle;
			above = product >> (32 * (i + 1)) >= prime;
		}
		if (above)
			high = middle;
		else
			low = middle;
	}
	return (uint32_t)low;
}

static void sha_start(void)
{
	unsigned count = 0;

	for (unsigned n = 2; count < 64; n++) {
		unsigned d = 2;

		while (d * d <= n && n % d)
			d++;
		if (d * d <= n)
			continue;
		if (count < 8)
			state[count] = root_bits(n, 2);
		constants[count++] = root_bits(n, 3);
	}
}

static uint32_t rotate(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

static void sha_block(const uint8_t *bytes)
{
	uint32_t w[64], s[8];

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)bytes[4 * i] << 24 | (uint32_t)bytes[4 * i + 1] << 16 |
		       (uint32_t)bytes[4 * i + 2] << 8 | bytes[4 * i + 3];
	for (unsigned i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
	for (unsigned i = 0; i < 8; i++)
		s[i] = state[i];
	for (unsigned i = 0; i < 64; i++) {
		uint32_t a = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
			     ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
		uint32_t b = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
			     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		for (unsigned j = 7; j; j--)
			s[j] = s[j - 1];
		s[4] += a;
		s[0] = a + b;
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] += s[i];
}

/* Bytes and their length, padded as FIPS 180-4 says. */
static void print_digest(const char *name, const void *bytes, size_t length)
{
	uint8_t last[128] = {0};
	size_t whole = length / 64 * 64, rest = length - whole, padded = rest < 56 ? 64 : 128;
	char line[66];

	sha_start();
	for (size_t i = 0; i < whole; i += 64)
		sha_block((const uint8_t *)bytes + i);
	memcpy(last, (const uint8_t *)bytes + whole, rest);
	last[rest] = 0x80;
	for (unsigned i = 0; i < 8; i++)
		last[padded - 1 - i] = (uint8_t)((uint64_t)length * 8 >> 8 * i);
	for (size_t i = 0; i < padded; i += 64)
		sha_block(last + i);
	for (unsigned i = 0; i < 64; i++)
		line[i] = "0123456789abcdef"[state[i / 8] >> (28 - i % 8 * 4) & 15];
	line[64] = '\n';
	while (*name)
		putbytes(name++, 1);
	putbytes(" ", 1);
	putbytes(line, 65);
}

static int64_t numbers[1500];

static void sort(int64_t *v, int count)
{
	int i = 0, j = count - 1;
	int64_t middle = v[count / 2];

	while (i <= j) {
		while (v[i] < middle)
			i++;
		while (v[j] > middle)
			j--;
		if (i <= j) {
			int64_t t = v[i];

			v[i++] = v[j];
			v[j--] = t;
		}
	}
	if (j > 0)
		sort(v, j + 1);
	if (i < count - 1)
		sort(v + i, count - i);
}

static int sorting(void)
{
	int wrong = 0;

	for (unsigned i = 0; i < 1500; i++)
		numbers[i] = (int64_t)next() >> (i % 60);
	sort(numbers, 1500);
	for (unsigned i = 1; i < 1500; i++)
		wrong |= numbers[i - 1] > numbers[i];
	print_digest("sort", numbers, sizeof numbers);
	return wrong;
}

static void matrices(void)
{
	static double a[16][16], b[16][16], c[16][16];
	static float narrow[16][16];

	for (unsigned i = 0; i < 16; i++)
		for (unsigned j = 0; j < 16; j++) {
			a[i][j] = (double)(int32_t)next() / 65536;
			b[i][j] = 1.0 / (double)(1 + i + j);
		}
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < 16; i++)
			for (unsigned j = 0; j < 16; j++) {
				c[i][j] = 0;
				for (unsigned k = 0; k < 16; k++)
					c[i][j] += a[i][k] * b[k][j];
				a[j][i] = c[i][j] / 3;
				narrow[i][j] = (float)c[i][j];
			}
	print_digest("matrix", c, sizeof c);
	print_digest("float", narrow, sizeof narrow);
}

static size_t length_of(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static void strings(void)
{
	static char text[2048];
	size_t n = 0;

	while (n < 2000) {
		const char *word = (const char *[]){"fetch", "decode", "", "execute", "retire"}[next() % 5];

		memcpy(text + n, word, length_of(word));
		n += length_of(word);
		for (uint64_t v = next() >> (next() & 63); v; v /= 10)
			text[n++] = (char)('0' + v % 10);
	}
	for (size_t i = 0, j = n - 1; i < j; i++, j--) {
		char t = text[i];

		text[i] = text[j];
		text[j] = t;
	}
	print_digest("string", text, length_of(text));
}

int main(void)
{
	print_digest("empty", "", 0);
	print_digest("abc", "abc", 3);
	matrices();
	strings();
	return sorting();
}
