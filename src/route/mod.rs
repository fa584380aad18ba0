//! Event routes: which paths outboard answers itself, and on which channels.
