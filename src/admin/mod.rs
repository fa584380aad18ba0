//! The optional TCP listener for operators.
