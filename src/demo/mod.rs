//! A legacy CGI site of our own, to be looked at.
