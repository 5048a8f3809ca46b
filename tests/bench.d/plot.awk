# Writes what gnuplot has to draw for tests/bench: bars for each table of the document that has ![TITLE](speed-NAME.svg)
# before it, one in each row for every column of the same unit as the first. What is far off the scale is cut short.
BEGIN {
    FS = " *[|] *"
    print "set style fill solid; set boxwidth 0.8; unset key; set border 0; unset xtics; set yrange [*:*] reverse"
    grey = "textcolor rgb '#808080'" # on white and on black
    colour[1] = "'#3b82c4'"
    colour[2] = "'#d9822b'"
}
/^!\[.*\]\(speed-.*\.svg\)$/ { split($0, part, /\]\(|\)$|^!\[/); title = part[2]; file = part[3]; rows = 0; next }
file != "" && /^\|/ {
    gsub(/[*]/, "")
    if (columns == 0) {
        for (c = 3; c < NF; c++)
            if (c == 3 || unit($c) == unit($3)) { column[++columns] = c; heading[columns] = $c }
    } else if ($2 != "---") {
        name[++rows] = $2
        for (i = 1; i <= columns; i++) value[rows, i] = $column[i]
    }
    next
}
file != "" && rows { draw() }
END { if (file != "" && rows) draw() }

function unit(heading) { sub(/[ ,].*/, "", heading); return heading }

function draw(    r, i, y, least, most, long, width) {
    most = least = 0
    for (r = 1; r <= rows; r++) for (i = 1; i <= columns; i++) {
        if (most == 0 || value[r, i] < least) least = value[r, i]
        if (value[r, i] > most) most = value[r, i]
    }
    # The longest that is not off: less than ten times as long as all of the others.
    long = 0
    for (r = 1; r <= rows; r++) for (i = 1; i <= columns; i++)
        if (value[r, i] < most / 10 && value[r, i] > long) long = value[r, i]
    for (r = 1; r <= rows; r++) for (i = 1; i <= columns; i++)
        if (value[r, i] >= most / 10 && value[r, i] < most / 1.5) long = most
    if (long == 0) long = most
    printf "set terminal svg size 720,%d font 'sans-serif,12' name 'plot'\nset output '%s'\n", 55 + rows * (columns * 15 + 9), file
    print "unset label; unset object; unset ytics"
    gsub("'", "''", title)
    printf "set label '%s' at screen 0.02,graph 1 offset 0,1.8 left noenhanced %s\n", title, grey
    printf "set lmargin at screen 0.40; set rmargin at screen 0.98; set tmargin 3; set bmargin 0.5\n"
    y = 0
    for (i = 1; i <= columns; i++)
        printf "set label '%s' at screen %.2f,graph 1 offset 0,0.6 left noenhanced textcolor rgb %s\n", heading[i], 0.40 + (i - 1) * 0.25, colour[i]
    for (r = 1; r <= rows; r++) {
        gsub("'", "''", name[r])
        printf "set label '%s' at first 0,%.1f right offset -1,0 noenhanced %s\n", name[r], y + (columns - 1) / 2, grey
        for (i = 1; i <= columns; i++) {
            width = value[r, i] > long ? long * 1.03 : value[r, i]
            printf "set object rectangle from first 0,%.1f to first %s,%.1f fillcolor rgb %s fillstyle solid noborder\n", y - 0.4, width, y + 0.4, colour[i]
            printf "set label '%s' at first %s,%.1f left offset 0.5,0 noenhanced %s\n", value[r, i], width, y, grey
            y++
        }
        y += 0.6
    }
    printf "set xrange [0:%s]; set yrange [%.1f:-1]\nplot NaN notitle\n", long * 1.15, y - 0.3
    file = ""
    columns = 0
}
