-- Tables, closures, strings, numbers.
local function queens(n)
	local columns, up, down, count = {}, {}, {}, 0
	local function place(row)
		if row > n then count = count + 1 return end
		for c = 1, n do
			if not (columns[c] or up[row + c] or down[row - c]) then
				columns[c], up[row + c], down[row - c] = true, true, true
				place(row + 1)
				columns[c], up[row + c], down[row - c] = nil, nil, nil
			end
		end
	end
	place(1)
	return count
end
print(queens(8))
local seed, words = 1, {}
for i = 1, 60000 do
	seed = (seed * 1103515245 + 12345) & 0x7fffffff
	local word = string.format("%x", seed >> 18)
	words[word] = (words[word] or 0) + #word
end
local keys = {}
for key in pairs(words) do keys[#keys + 1] = key end
table.sort(keys, function(a, b) return words[a] > words[b] or (words[a] == words[b] and a < b) end)
print(#keys, keys[1], keys[#keys])
local sum = 0.0
for i = 1, 400000 do sum = sum + (i % 7) / (i + 1.5) end
print(string.format("%.9f", sum))
