//! One request: route it, then proxy, subscribe or refuse.
