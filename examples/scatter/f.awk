# The function whose roots are wanted, and its derivative.
function f(x) { return sin(x * x) + cos(3 * x) / 2 }
function slope(x) { return 2 * x * cos(x * x) - 1.5 * sin(3 * x) }
