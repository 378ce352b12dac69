# Fields, arrays, numbers.
{
	for (i = 1; i <= NF; i++) {
		count[tolower($i)]++
		if ($i ~ /^[0-9]+$/)
			sum += $i * i
	}
	lengths[length($0) % 10] += NF
	if (gsub(/[aeiou]/, "*") > 20)
		many++
}
END {
	for (word in count)
		if (count[word] > best || (count[word] == best && word < name)) {
			best = count[word]
			name = word
		}
	for (i = 0; i < 300000; i++)
		total = (total * 31 + i) % 1000003
	print NR, sum, many, name, best, lengths[3], total
}
