// SQLite as Debian builds it names libm's trigonometric functions in its table of SQL functions: 290 KB of tables and code that no statement of ours
// calls. These stand in for them in the executable: NaN, which SQL shows as NULL. Whoever comes to need one of them takes its line out.
extern "C" {
double acos(double) noexcept { return __builtin_nan(""); }
double acosh(double) noexcept { return __builtin_nan(""); }
double asin(double) noexcept { return __builtin_nan(""); }
double asinh(double) noexcept { return __builtin_nan(""); }
double atan(double) noexcept { return __builtin_nan(""); }
double atan2(double, double) noexcept { return __builtin_nan(""); }
double atanh(double) noexcept { return __builtin_nan(""); }
double cos(double) noexcept { return __builtin_nan(""); }
double cosh(double) noexcept { return __builtin_nan(""); }
double sin(double) noexcept { return __builtin_nan(""); }
double sinh(double) noexcept { return __builtin_nan(""); }
double tan(double) noexcept { return __builtin_nan(""); }
double tanh(double) noexcept { return __builtin_nan(""); }
}
