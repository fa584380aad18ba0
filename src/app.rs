//! Build, run, drain.
