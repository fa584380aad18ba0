//! Clients that begin, read and fall behind.

use super::*;

impl Rig<'_> {
    pub(super) fn subscribe(
        &mut self,
        numbers: &[usize],
        from: &Start,
        role: Role,
        as_anna: Option<u64>,
        is_adopted: bool,
        seen: Seen,
    ) -> Verdict {
        let epoch = self.epochs.len() - 1;
        let (last, replay) = match *from {
            Start::Live => (None, Replay::Live),
            Start::All => (None, Replay::All),
            Start::Newest(count) => (None, Replay::Newest(count)),
            Start::Unseen => (None, Replay::Unseen),
            Start::After { epochs_ago, number } if epochs_ago <= epoch => {
                (Some(self.position(epoch - epochs_ago, number)), Replay::Live)
            }
            Start::After { number, .. } => (Some(format!("elsewhere-{number}")), Replay::Live),
            Start::Own(id) => (Some(format!("own{id}")), Replay::Live),
            Start::Nonsense => (Some("what?".to_owned()), Replay::Live),
        };
        let (may, must) = self.refuses(numbers);
        let since = Since { last_event_id: last.as_deref(), replay };
        let (anna, names) = (anna(), channels(numbers));
        let subject = as_anna.map(|_| &anna);
        let asked_at = as_anna.map(|places| self.model.head.saturating_sub(places));
        let wish = Wish { role, subject, asked_at, ..Wish::new(&names, since, 0) };
        let subscribed = self.broker.subscribe(wish);
        let is_barred = asked_at.is_some_and(|place| place < self.model.disconnected);
        ensure!(is_barred == matches!(subscribed, Ok(Subscribed::Disconnected)), "barred: {subscribed:?}");
        if is_barred {
            return Ok(());
        }
        let subscribed = match subscribed {
            Err(refused) => {
                let may = match refused {
                    Refused::TooManyChannels(_) => may,
                    Refused::TooManyNames(most) => self.with(numbers) > most,
                    _ => false,
                };
                ensure!(may, "refused: {refused}");
                return Ok(());
            }
            Ok(subscribed) => subscribed,
        };
        ensure!(!must, "bound: there is no room for {numbers:?}");
        self.look_around()?;
        let owed = self.model.owed(numbers, from);
        let is_closed = numbers.iter().all(|&number| self.model.closed[number]);
        let (subscription, mut gap) = match subscribed {
            Subscribed::Open(subscription, gap) => (subscription, gap),
            Subscribed::Disconnected => return Ok(()),
            Subscribed::Over => {
                ensure!(is_closed, "over: {numbers:?} are not closed");
                let is_owed =
                    owed.gap == Some(true) || owed.events.values().any(|&claim| claim > Claim::Perhaps);
                ensure!(!is_owed, "hole: {owed:?} is left, and the stream is over");
                return Ok(());
            }
        };
        let nothing = is_closed && owed.gap.is_none() && owed.events.is_empty();
        ensure!(!nothing, "over: nothing is left, and the client is held");
        if let Some(fault) = self.fault {
            fault.on_gap(&mut gap, last.is_some(), self.model.head, self.broker.epoch());
        }
        match (owed.gap, &gap) {
            (None, Some(gap)) => return Err(format!("false gap: {gap:?}")),
            (Some(true), None) => return Err(format!("hole: nothing is said of a gap after {last:?}")),
            (Some(false), Some(_)) => self.tally.cautious_gaps += 1,
            (_, None) => {}
            (Some(true), Some(_)) => self.tally.gaps += 1,
        }
        let seen = match gap {
            None => match from {
                Start::After { epochs_ago: 0, number } => Seen::Position { epoch, number: *number },
                _ => seen,
            },
            Some(gap) => self.check_gap(&gap, numbers, last.as_deref(), &owed, self.model.head)?,
        };
        if role == Role::Listener {
            self.model.hand_out(numbers, from, &owed);
        }
        self.clients.push(Client {
            subscription,
            channels: numbers.to_vec(),
            role,
            is_anna: as_anna.is_some(),
            is_adopted,
            seen,
            owed: owed.events,
            got: 0,
            // What comes when one of them is opened again is for others.
            until: is_closed.then_some(self.model.head + 1),
        });
        Ok(())
    }

    /// Checks what a client is told of a gap; it then has the id that comes with it.
    pub(super) fn check_gap(
        &self,
        gap: &Gap,
        channels: &[usize],
        asked: Option<&str>,
        owed: &Owed,
        end: u64,
    ) -> Result<Seen, String> {
        let held = || channels.iter().flat_map(|&channel| &self.model.held[channel]).copied();
        let id = |number: Option<u64>| number.map(|number| self.id(number));
        ensure!(gap.requested.as_deref() == asked, "gap: {gap:?} for {asked:?}");
        // A channel that was forgotten and is there again is another one for a client that ended before.
        let is_another = |told: &Option<Box<str>>| end < self.model.head && told.is_none();
        let is_right =
            |told: &Option<Box<str>>, number| *told == id(number).map(Into::into) || is_another(told);
        ensure!(is_right(&gap.oldest, held().min()), "gap: the oldest in {gap:?}");
        ensure!(is_right(&gap.newest, held().max()), "gap: the newest in {gap:?}");
        let number = owed.events.keys().next().map_or(end, |next| next - 1);
        ensure!(gap.resume.sequence == number, "gap: {gap:?} before {number}");
        ensure!(gap.resume.epoch == *self.broker.epoch(), "epoch: {gap:?}");
        Ok(Seen::Position { epoch: self.epochs.len() - 1, number })
    }

    pub(super) fn read(&mut self, index: usize, portion: usize, skips: bool) -> Verdict {
        self.read_once(index, portion, skips).map(drop)
    }

    /// Hands a client the next portion; whether it can have more at once. It leaves if it is cut off, or
    /// its channels are closed.
    pub(super) fn read_once(&mut self, index: usize, portion: usize, skips: bool) -> Result<bool, String> {
        let client = &mut self.clients[index];
        let before = client.subscription.cursor;
        let read = self.broker.reading(0).read(&mut client.subscription, portion);
        let (entries, cursor, more, over) = match read {
            Read::Fallen => return self.fall(index, skips).map(|()| false),
            Read::Next { entries, cursor, more, over } => (entries, cursor, more, over),
        };
        ensure!(entries.len() <= portion, "bound: {} in a portion of {portion}", entries.len());
        let mut numbers = Vec::new();
        for entry in &entries {
            let event = entry.encoded.event();
            numbers.push(self.number_of(&event));
            ensure!(numbers.last() == Some(&entry.sequence), "mixed up: {} is {numbers:?}", entry.sequence);
            ensure!(event.id() == Some(&self.id(entry.sequence)), "id: {:?}", event.id());
        }
        if let Some(fault) = self.fault {
            fault.on_read(&mut numbers);
        }
        self.tally.delivered += numbers.len() as u64;
        let client = &mut self.clients[index];
        client.get(&numbers, more, &self.model)?;
        ensure!(cursor >= before, "sequence: the cursor goes back from {before} to {cursor}");
        client.subscription.cursor = cursor;
        if let Some(number) = numbers.last() {
            client.seen = match self.model.events[number].sent.own_id {
                Some(own) => Seen::Own(own),
                None => Seen::Position { epoch: self.epochs.len() - 1, number: *number },
            };
        }
        let over = over.filter(|_| !matches!(self.fault, Some(Fault::NoEnd)));
        let is_over = !more && client.until.is_some();
        ensure!(over.is_some() == is_over, "over: {over:?} for {:?}", client.channels);
        match over {
            Some(Ended::Closed) => self.tally.closed += 1,
            Some(Ended::Disconnected) => self.tally.disconnected += 1,
            None => {}
        }
        if over.is_some() {
            self.clients.swap_remove(index);
        }
        Ok(more)
    }

    /// A client was too slow: something it waits for is nowhere any more.
    pub(super) fn fall(&mut self, index: usize, skips: bool) -> Verdict {
        let client = &self.clients[index];
        let wanted = client.channels.clone();
        // Whether one of its channels does not hold an event any more.
        let has_left = |number: &u64| {
            let came_by = &self.model.events[number].sent.channels;
            let mut channels = wanted.iter().filter(|channel| came_by.contains(channel));
            channels.any(|&channel| !self.model.held[channel].contains(number))
        };
        // Of one whose end is set the log cannot tell what left before it from what left after.
        let left_later = |until| client.channels.iter().any(|&channel| self.model.left[channel] >= until);
        // Nor what left it before it was forgotten.
        let is_forgotten = client.channels.iter().any(|channel| !self.known.contains(channel));
        let is_lost = client.owed.keys().any(has_left)
            || client.until.is_some_and(|until| left_later(until) || is_forgotten);
        let recent = self.opened_at.max(self.model.head.saturating_sub(self.history.recent as u64));
        ensure!(is_lost, "false gap: cut off with {:?} before it", client.owed);
        ensure!(client.subscription.cursor < recent, "false gap: cut off, and all after {recent} is at hand");
        self.tally.fallen += 1;
        if !skips {
            self.cut(index);
            return Ok(());
        }
        let client = &mut self.clients[index];
        let end = client.until.map_or(self.model.head, |until| until - 1);
        let gap = self.broker.reading(0).skip(&mut client.subscription);
        let left = self.model.held_after(&client.channels, 0);
        let is_replaced = |number, claim| claim == Claim::AsState && self.model.is_replaced(number);
        client.owed.retain(|number, claim| {
            let is_sure = *claim > Claim::Perhaps && !is_replaced(*number, *claim);
            let may_be_lost = has_left(number) || !is_sure;
            *claim = if may_be_lost { Claim::Perhaps } else { *claim };
            left.contains_key(number) && (*number > gap.resume.sequence || !may_be_lost)
        });
        ensure!(gap.reason == Reason::Slow, "gap: {gap:?}");
        let owed = Owed { gap: None, events: client.owed.clone() };
        let seen = self.check_gap(&gap, &wanted, None, &owed, end)?;
        self.clients[index].seen = seen;
        Ok(())
    }

    pub(super) fn cut(&mut self, index: usize) {
        let client = self.clients.swap_remove(index);
        self.away.push((client.channels.clone(), client.seen.clone()));
    }

    pub(super) fn read_all(&mut self) -> Verdict {
        while !self.clients.is_empty() {
            let count = self.clients.len();
            let more = self.read_once(0, 3, false)?;
            if !more && self.clients.len() == count {
                self.clients.swap_remove(0);
            }
        }
        Ok(())
    }
}
