//! The log as it is read from the file, at the start.

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, StorageError};

use super::{CHANNELS, Disk, EVENTS, KEYS, META, STEP, read_number};
use crate::broker::log::Log;
use crate::broker::settings::Settings;
use crate::broker::store::Row;
use crate::broker::store::fault::{DiskFault, FORMAT};
use crate::broker::store::mark::{self, Mark, Marked};
use crate::broker::store::stored::{StoredEvent, StoredKey};
use crate::channel::Channel;
use crate::event::Epoch;

impl Disk {
    /// Begins a step in the file that is open, and reads the log from it; `before` is what its mark says.
    pub(super) fn load(&mut self, settings: &Settings, before: Option<&Marked>) -> Result<Log, DiskFault> {
        let epoch = self.set_up(settings, before)?;
        self.restore(Log::with_epoch(settings.clone(), epoch))
    }

    /// Makes the file one of this version and of this start. The epoch that holds from now on.
    fn set_up(&mut self, settings: &Settings, before: Option<&Marked>) -> Result<Epoch, DiskFault> {
        let setup = self.database()?.begin_write()?;
        let (epoch, step) = {
            let mut meta = setup.open_table(META)?;
            let events = setup.open_table(EVENTS)?;
            let mut keys = setup.open_table(KEYS)?;
            setup.open_table(CHANNELS)?;
            match read_number(&meta, "format")? {
                Some(newer) if newer > FORMAT => return Err(DiskFault::Newer(newer)),
                Some(1) => take_out_keys(&events, &mut keys)?,
                _ => {}
            }
            let epoch = meta.get("epoch")?.map(|word| read_epoch(word.value())).transpose()?;
            let step = read_number(&meta, STEP)?.unwrap_or(0);
            let is_of_this_log = |seen: &&Marked| epoch.as_deref().map(mark::word) == Some(seen.epoch);
            if let Some(seen) = before.filter(is_of_this_log).filter(|seen| seen.step > step) {
                return Err(DiskFault::Damaged(format!(
                    "it ends at step {step}, and {} was written",
                    seen.step
                )));
            }
            // Events that were only `accepted` may be lost in a crash although clients have seen them:
            // their numbers must not mean others.
            let is_whole = read_number(&meta, "open")?.unwrap_or(0) == 0;
            let epoch = epoch.filter(|_| is_whole).map_or_else(Epoch::random, |word| Epoch::from_word(&word));
            meta.insert("format", &FORMAT.to_le_bytes()[..])?;
            meta.insert("epoch", epoch.as_str().as_bytes())?;
            meta.insert("open", &u64::from(!settings.stored).to_le_bytes()[..])?;
            meta.insert(STEP, &(step + 1).to_le_bytes()[..])?;
            (epoch, step + 1)
        };
        setup.commit()?;
        self.epoch = mark::word(epoch.as_str());
        self.mark = Mark::open(&self.path.with_extension("mark")).ok();
        self.took(step);
        Ok(epoch)
    }

    /// Fills an empty log with what the file has.
    fn restore(&self, mut log: Log) -> Result<Log, DiskFault> {
        let read = self.database()?.begin_read()?;
        let meta = read.open_table(META)?;
        let rows = read
            .open_table(CHANNELS)?
            .iter()?
            .map(|row| {
                let (name, row) = row?;
                let channel =
                    Channel::parse_any(name.value()).map_err(|e| DiskFault::Damaged(e.to_string()))?;
                let (closed, trimmed, seen) = row.value();
                Ok((channel, Row { closed, trimmed, seen }))
            })
            .collect::<Result<Vec<_>, DiskFault>>()?;
        log.restore_channels(&rows, read_number(&meta, "forgotten")?.unwrap_or(0));
        restore_events(&read, &mut log)?;
        log.finish_restoring(&rows, read_number(&meta, "head")?.unwrap_or(0));
        Ok(log)
    }
}

/// Restores the events, each with its key, and the keys that outlived theirs, in the order of their numbers.
fn restore_events(read: &ReadTransaction, log: &mut Log) -> Result<(), DiskFault> {
    let (events, keys) = (read.open_table(EVENTS)?, read.open_table(KEYS)?);
    let mut keys = keys.iter()?.map(stored_key);
    let mut key = keys.next().transpose()?;
    for event in events.iter()? {
        let (sequence, bytes) = event?;
        let mut event = StoredEvent::decode(sequence.value(), bytes.value())?;
        while let Some(older) = key.take_if(|key| key.sequence < event.sequence) {
            log.restore_key(older);
            key = keys.next().transpose()?;
        }
        if let Some(its) = key.take_if(|key| key.sequence == event.sequence) {
            event.dedupe = Some(its.dedupe);
            key = keys.next().transpose()?;
        }
        log.restore(event)?;
    }
    while let Some(left) = key.take() {
        log.restore_key(left);
        key = keys.next().transpose()?;
    }
    Ok(())
}

fn read_epoch(bytes: &[u8]) -> Result<String, DiskFault> {
    let word = std::str::from_utf8(bytes).ok().filter(|word| Epoch::is_word(word));
    word.map(Into::into).ok_or_else(|| DiskFault::Damaged("`epoch` is no word".into()))
}

fn stored_key(
    row: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>), StorageError>,
) -> Result<StoredKey, DiskFault> {
    let (sequence, bytes) = row?;
    Ok(StoredKey::decode(sequence.value(), bytes.value())?)
}

/// Gives the keys of a store of format 1 rows of their own. The events' rows keep them too, until they go.
fn take_out_keys(
    events: &impl ReadableTable<u64, &'static [u8]>,
    keys: &mut redb::Table<'_, u64, &'static [u8]>,
) -> Result<(), DiskFault> {
    for event in events.iter()? {
        let (sequence, bytes) = event?;
        if let Some(key) = StoredEvent::decode(sequence.value(), bytes.value())?.key() {
            keys.insert(key.sequence, &key.encode()[..])?;
        }
    }
    Ok(())
}
