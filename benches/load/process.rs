//! What a server costs: CPU time and memory of a process and of all that it started.

use std::fs;

use anyhow::{Context, Result};

/// A process and its descendants, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct Processes(Vec<u32>);

/// CPU time, in seconds since each process began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// In user space.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

/// The kernel's TCP sockets, of both ends of every connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tcp {
    /// Sockets in use.
    pub sockets: u64,
    /// Bytes of memory they hold.
    pub memory: u64,
}

const TICKS_PER_SECOND: f64 = 100.0;
const PAGE: u64 = 4096;

impl Processes {
    /// The processes `roots` with whatever they have started by now.
    pub(crate) fn with_descendants(roots: &[u32]) -> Result<Processes> {
        let mut found = roots.to_vec();
        let parents = parents()?;
        let mut index = 0;
        while let Some(parent) = found.get(index).copied() {
            for (child, _) in parents.iter().filter(|(_, of)| *of == parent) {
                if !found.contains(child) {
                    found.push(*child);
                }
            }
            index += 1;
        }
        Ok(Processes(found))
    }

    /// The generator itself.
    pub(crate) fn own() -> Processes {
        Processes(vec![std::process::id()])
    }

    /// What they have used so far, all together.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let mut sum = Cpu::default();
        for pid in &self.0 {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
                .with_context(|| format!("process {pid} has ended"))?;
            let fields = after_name(&stat);
            sum.user += number(&fields, 11) as f64 / TICKS_PER_SECOND;
            sum.system += number(&fields, 12) as f64 / TICKS_PER_SECOND;
        }
        Ok(sum)
    }

    /// The memory they hold (VmRSS), all together, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in &self.0 {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))
                .with_context(|| format!("process {pid} has ended"))?;
            sum += field(&status, "VmRSS:") * 1024;
        }
        Ok(sum)
    }
}

impl Cpu {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Cpu) -> Cpu {
        Cpu { user: self.user - earlier.user, system: self.system - earlier.system }
    }

    /// Of both kinds.
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

/// The state of `/proc/net/sockstat`.
pub(crate) fn tcp() -> Result<Tcp> {
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let value = |name| {
        let index = words.iter().position(|word| *word == name)?;
        words.get(index + 1)?.parse::<u64>().ok()
    };
    Ok(Tcp { sockets: value("inuse").unwrap_or_default(), memory: value("mem").unwrap_or_default() * PAGE })
}

/// All processes, each with its parent.
fn parents() -> Result<Vec<(u32, u32)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended meanwhile.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
            all.push((pid, u32::try_from(number(&after_name(&stat), 1))?));
        }
    }
    Ok(all)
}

/// The fields behind the name, which is in parentheses and may contain anything.
fn after_name(stat: &str) -> Vec<&str> {
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    fields.split_ascii_whitespace().collect()
}

fn number(fields: &[&str], index: usize) -> u64 {
    fields.get(index).and_then(|field| field.parse().ok()).unwrap_or_default()
}

fn field(status: &str, name: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
