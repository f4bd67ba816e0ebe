# A line for each station, also for those without a mean.
{
  station = $0; sub(/.*"station":"/, "", station); sub(/".*/, "", station)
  if (/"state":"succeeded"/) {
    readings = $0; sub(/.*"readings": */, "", readings); sub(/,.*/, "", readings)
    mean = $0; sub(/.*"mean": */, "", mean); sub(/}.*/, "", mean)
    printf "%-6s %5.1f °C from %d readings\n", station, mean, readings
  } else
    printf "%-6s too few readings\n", station
}
