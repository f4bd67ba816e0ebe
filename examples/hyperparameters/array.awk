# Lines of score, degree and penalty as an array of objects.
{ printf "%s{\"score\": %s, \"degree\": %s, \"penalty\": %s}", (NR > 1 ? ", " : "["), $1, $2, $3 }
END { print "]" }
