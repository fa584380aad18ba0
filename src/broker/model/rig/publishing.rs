//! Publishes, on the log and on its model.

use super::*;

impl Rig<'_> {
    pub(super) fn publish(&mut self, burst: &[Sent]) -> Verdict {
        // What is forgotten between two of them can be told only from what is there after each.
        let may_be_together = self.history.max_channels >= MANY_CHANNELS;
        let size = if may_be_together { burst.len() } else { 1 };
        for burst in burst.chunks(size) {
            if burst.len() > 1 && self.folder.is_some() {
                // A key may be asked for before an earlier one of them has pushed its event out.
                self.model.keep_keys(1);
                self.ended_together |= burst.iter().any(|sent| sent.close || sent.disconnects_anna);
            }
            let publishing: Vec<_> = burst.iter().map(|sent| self.send(sent)).collect();
            for (sent, (label, publishing)) in burst.iter().zip(publishing) {
                self.published_as(sent, label, outcome(publishing))?;
            }
            if !self.stored {
                // So that a history is the same each time.
                self.settle();
            }
            self.look_around()?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, sent: &Sent) -> (u64, Publishing) {
        self.published += 1;
        let label = self.published;
        let event = sent.event.then(|| {
            let mut event = Event::with_data(&format!("{label:.<width$}", width = sent.weight * UNIT));
            if let Some(own) = sent.own_id {
                event.set_id(&format!("own{own}")).unwrap();
            }
            event
        });
        let publication = Publication {
            channels: channels(&sent.channels),
            event,
            close: sent.close,
            ttl: sent.ttl.map(Duration::from_millis),
            dedupe: sent.dedupe.map(|key| format!("key{key}").into()),
            disconnect: if sent.disconnects_anna { vec![anna()] } else { Vec::new() },
        };
        (label, self.broker.publish(publication))
    }

    /// Whether there may, and must, be too many channels for these.
    pub(super) fn refuses(&self, channels: &[usize]) -> (bool, bool) {
        if channels.iter().all(|channel| self.known.contains(channel)) {
            return (false, false);
        }
        let is_busy = |&number: &usize| {
            channels.contains(&number)
                || !self.model.held[number].is_empty()
                || self.clients.iter().any(|client| client.is_on(number))
        };
        let most = self.history.max_channels;
        (self.with(channels) > most, (0..CHANNELS).filter(is_busy).count() > most)
    }

    /// How many channels there would be with these.
    pub(super) fn with(&self, channels: &[usize]) -> usize {
        self.known.iter().chain(channels).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn published_as(
        &mut self,
        sent: &Sent,
        label: u64,
        outcome: Result<Receipt, Refused>,
    ) -> Verdict {
        let (may, must) = self.refuses(&sent.channels);
        let receipt = match outcome {
            Err(refused) => {
                ensure!(may && matches!(refused, Refused::TooManyChannels(_)), "refused: {refused}");
                return Ok(());
            }
            Ok(receipt) => receipt,
        };
        ensure!(!must, "bound: there is no room for the channels of {sent:?}");
        let id = receipt.id.as_ref().map(ToString::to_string);
        let tries = self.model.first_tries(sent);
        if receipt.duplicate {
            let is_known = tries.iter().any(|&(number, _)| Some(self.id(number)) == id);
            ensure!(is_known, "lost: {sent:?} is taken for another {id:?}, and there is {tries:?}");
            return Ok(());
        }
        ensure!(tries.iter().all(|&(_, sure)| !sure), "duplicate: {sent:?} is another of {tries:?}");
        let (before, number) = (self.model.head, self.model.head + 1);
        let listening = self.clients.iter().filter(|client| client.listens_on_any(&sent.channels)).count();
        let listened: Vec<_> = sent
            .channels
            .iter()
            .copied()
            .filter(|&channel| self.clients.iter().any(|client| client.listens_on(channel)))
            .collect();
        if sent.event {
            self.numbers.insert(label, number);
            self.model.publish(sent, &listened);
            ensure!(id.as_deref() == Some(&self.id(number)), "sequence: {id:?} after {before}");
            ensure!(
                receipt.receivers == listening,
                "count: {} for {sent:?}, of {listening}",
                receipt.receivers
            );
            self.tally.published += 1;
            for client in &mut self.clients {
                if client.is_on_any(&sent.channels) {
                    let by =
                        sent.channels.iter().copied().filter(|channel| client.channels.contains(channel));
                    client.owed.insert(number, claim_by(by));
                }
            }
            if self.clients.iter().any(|client| client.is_on_any(&sent.channels)) {
                self.news.push(number);
            }
        } else {
            ensure!(id.is_none() && receipt.receivers == 0, "phantom: {receipt:?} without an event");
            self.model.publish(sent, &listened);
        }
        let ended = self.end_clients(sent);
        ensure!(receipt.disconnected == ended, "count: {} were ended, not {ended}", receipt.disconnected);
        Ok(())
    }

    /// Ends those who have only closed channels now, and anna's; how many of these.
    fn end_clients(&mut self, sent: &Sent) -> usize {
        let Self { clients, model, ended, .. } = self;
        for client in clients.iter_mut().filter(|client| client.until.is_none()) {
            if sent.close && client.channels.iter().all(|&channel| model.closed[channel]) {
                client.until = Some(model.head);
                ended.push(client.subscription.selection.id());
            }
        }
        if !sent.disconnects_anna {
            return 0;
        }
        let (place, mut count) = (model.disconnect_anna(), 0);
        for client in clients.iter_mut().filter(|client| client.is_anna) {
            client.is_anna = false;
            if client.until.is_none() {
                client.until = Some(place);
                ended.push(client.subscription.selection.id());
                count += 1;
            }
        }
        count
    }
}
