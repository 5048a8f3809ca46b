# Draws the first column of tests/bench's tables as bars, a scale for each table. What sleeps is off the scale.
BEGIN { FS = " *[|] *"; off = 100000; bar = "##################################################" }
$3 == "µs" { title[++tables] = $2; rows[tables] = 0 }
tables && $3 ~ /^[0-9]+$/ {
    gsub(/[*]/, "", $2)
    name[tables, ++rows[tables]] = $2
    time[tables, rows[tables]] = $3
    if ($3 < off && $3 > most[tables]) most[tables] = $3
}
END {
    print "```"
    for (t = 1; t <= tables; t++) {
        printf "%s%s, in milliseconds\n", (t > 1 ? "\n" : ""), title[t]
        for (row = 1; row <= rows[t]; row++) {
            us = time[t, row]
            width = us < off ? int(us / most[t] * length(bar) + 0.5) : length(bar)
            printf "  %-39s%s%s %.*f\n", name[t, row], substr(bar, 1, width), (us < off ? "" : " ... "), (us < 10000 ? 2 : 0), us / 1000
        }
    }
    print "```"
}
