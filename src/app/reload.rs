//! Another configuration for a running outboard.
//!
//! All or nothing: it was read without a mistake, or it is not here. Streams and requests under way go
//! on as they began; what comes next is answered by the new routes and the new backend.

use std::sync::Arc;

use super::Running;
use crate::config::Config;
use crate::proxy::Backend;

impl Running {
    /// Takes on another configuration: routes, backend, history limits and channel rules. Names what
    /// else has changed and needs a restart.
    pub fn reload(&mut self, config: Config) {
        let restart = needs_restart(&self.config, &config);
        // Connections to a backend that stays are worth keeping.
        if config.backend != self.config.backend {
            self.shared.backend.store(Arc::new(Backend::new(config.backend.clone())));
            self.shared.trusted.store(Arc::new(config.backend.rules.trusted.clone()));
        }
        self.gateway.store(Arc::new(self.shared.gateway(&config)));
        self.shared.broker.reconfigure(&config.history);
        tracing::info!(backend = %config.backend.address, "reloaded the configuration");
        if !restart.is_empty() {
            tracing::warn!(
                changed = restart.join(", "),
                "some of what has changed counts only after a restart"
            );
        }
        let Config { backend, mut history, routes, .. } = config;
        // What does not count yet is told again the next time.
        (history.store, history.stored) = (self.config.history.store.clone(), self.config.history.stored);
        (self.config.backend, self.config.history, self.config.routes) = (backend, history, routes);
    }
}

/// The keys that are different and that a running outboard cannot change.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("listen", old.listen != new.listen),
        ("[proxy] proxy_protocol", old.proxy_protocol != new.proxy_protocol),
        ("[publish]", old.publish != new.publish),
        (
            "[history] store",
            (&old.history.store, old.history.stored) != (&new.history.store, new.history.stored),
        ),
        ("[stream]", old.stream != new.stream),
        ("[admin]", old.admin != new.admin),
        ("[limits]", old.limits != new.limits),
        ("[log]", old.log != new.log),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
}
