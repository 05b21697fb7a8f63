# shellcheck shell=bash
# Shared by the benches: how their tables look.

# Lines of cells apart by tabs, from standard input, in columns.
align_columns() {
    awk -F '\t' '
    { line[NR] = $0; for (i = 1; i <= NF; i++) if (length($i) > width[i]) width[i] = length($i) }
    END { for (n = 1; n <= NR; n++) { count = split(line[n], cell, "\t")
          for (i = 1; i <= count; i++) printf "%-*s%s", width[i], cell[i], i < count ? "  " : "\n" } }'
}

# print_results FILE: of a bench whose goals are the largest ratios that are allowed.
print_results() {
    jq -r '["measure", "unit", "ours", "peer", "ratio", "goal", "met", "peer is"],
        (.[] | [.name, .unit, .ours, .peer, .ratio,
                (if .goal == null then "-", "-" else "<= \(.goal)", .met end), .peer_name]) | @tsv' \
        "$1" | align_columns
}
