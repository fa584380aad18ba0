//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::channel::Channel;
use crate::client::http::Start;
use crate::config::{Flag, Size};

const EXAMPLES: &str = "\
Examples:
  outboard --to http://127.0.0.1:8080
      Stand in front of the site on port 8080: browsers come to port 8000 now.
  printf 'channel: job-42\\ndata: 50\\n\\n' | nc -NU /run/outboard/publish.sock
      Publish an event with nothing but a shell. The format is that of event streams.
  outboard demo
      See it all work on a little site of its own.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

const RUN_EXAMPLES: &str = "\
Examples:
  outboard --to http://127.0.0.1:8080
  outboard run --config /etc/outboard/outboard.toml
  outboard run --to unix:/run/app.sock --listen 127.0.0.1:8000 --listen '[::1]:8000'
  OUTBOARD__HISTORY__MAX_AGE=2h outboard --to http://127.0.0.1:8080

Every key of the configuration can be set by a variable: OUTBOARD__TABLE__KEY. A flag beats
a variable, a variable beats the file. TERM, INT or QUIT lets requests finish and then
ends; a second one ends at once. HUP reads the configuration again, USR1 opens the log file anew.";

const CHECK_EXAMPLES: &str = "\
Examples:
  outboard check
  outboard check --config new.toml && sudo cp new.toml /etc/outboard/outboard.toml";

const PUBLISH_EXAMPLES: &str = "\
Examples:
  outboard publish news 'Hello, everybody'
  outboard publish job-42 --event progress 50
  git log -1 | outboard publish deploys
  outboard publish job-42 --close                  the job is done: streams end, and stay so
  outboard publish orders --dedupe order-1234 new  can be repeated until it works

Prints the event's id, how many subscribers it was handed to, and how safe it is.";

const PIPE_EXAMPLES: &str = "\
Examples:
  long-job 2>&1 | outboard pipe job-42 --close
  tail -F /var/log/app.log | outboard pipe log --event line
  0 3 * * *  nightly 2>&1 | outboard pipe nightly --tee >> /var/log/nightly.log

The job is never harmed: pipe reads on whatever happens, to the end of its input. Only an outboard
that gets on, and is slower than the job, is waited for. While outboard is away the newest lines
wait in memory (--spool), and are published when it is back, once and in order. After the end of
the input it tries for a while (--wait), then says how many lines were lost. The exit code is 1 if
a line was lost or refused. Lines are UTF-8; others are read as Latin-1. The first INT, TERM or
QUIT is left to the job; a second one ends pipe at once.";

const TAIL_EXAMPLES: &str = "\
Examples:
  outboard tail news
  outboard tail job-42 --replay all --json | jq .data

It goes on where it was when outboard is restarted, and ends when the channel is closed.";

const CHANNELS_EXAMPLES: &str = "\
Examples:
  outboard channels
  outboard channels --match 'job-*' --json | jq -r 'select(.subscribers == 0).channel'
  outboard channels | cut -f1,2                    tab separated when it is not for a terminal";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  outboard completions bash > ~/.local/share/bash-completion/completions/outboard
  outboard completions zsh > ~/.zfunc/_outboard
  outboard completions fish > ~/.config/fish/completions/outboard.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  outboard man | man -l -
  outboard man pipe | man -l -
  sudo outboard man --folder /usr/local/share/man/man1    then: man outboard-pipe";

/// Server-Sent Events for sites that cannot push: a reverse proxy that stands in front of an old
/// application, holds its event streams, and takes events from any script.
#[derive(Debug, Parser)]
#[command(name = "outboard", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) run: Run,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Stand in front of a site (also without the word `run`)
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Say what a configuration will do, or what is wrong with it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Run),
    /// Publish one event
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(Publish),
    /// Make every line of standard input an event
    #[command(after_help = PIPE_EXAMPLES)]
    Pipe(Pipe),
    /// Print a channel as it goes
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
    /// List the channels there are
    #[command(after_help = CHANNELS_EXAMPLES)]
    Channels(Channels),
    /// Run a little legacy site with outboard in front, to look at
    Demo(Demo),
    /// Print what makes a shell complete outboard's commands
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual pages, for `man -l -`
    #[command(after_help = MAN_EXAMPLES)]
    Man(Man),
}

#[derive(Args, Debug, Default)]
pub(super) struct Run {
    /// Read this file; else /etc/outboard/outboard.toml if there is one
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The site behind: http://HOST:PORT or unix:/PATH
    #[arg(long, value_name = "URL")]
    pub(super) to: Option<String>,
    /// Where browsers connect, as in 0.0.0.0:8000; can be repeated
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Vec<String>,
    /// Where scripts publish
    #[arg(long, value_name = "PATH", env = "OUTBOARD_SOCKET", hide_env_values = true)]
    pub(super) socket: Option<PathBuf>,
}

impl Run {
    /// The flags that set a key of the configuration.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        flags.extend(self.to.as_deref().map(Flag::to));
        if !self.listen.is_empty() {
            flags.push(Flag::listen(&self.listen));
        }
        flags.extend(self.socket.as_deref().map(Flag::socket));
        flags
    }
}

/// Which outboard to talk to.
#[derive(Args, Clone, Debug)]
pub(super) struct Where {
    /// The socket of the outboard to talk to
    #[arg(long, value_name = "PATH", env = "OUTBOARD_SOCKET", hide_env_values = true)]
    pub(super) socket: Option<PathBuf>,
    /// The configuration of the outboard to talk to, which names its socket
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Publish {
    /// The channel
    pub(super) channel: Channel,
    /// What is published; `-`, or nothing with a pipe or a file as standard input, reads that
    #[arg(allow_negative_numbers = true)]
    pub(super) data: Option<String>,
    /// The event's name, for which a page listens with addEventListener
    #[arg(long, value_name = "NAME")]
    pub(super) event: Option<String>,
    /// An id of your own, with which clients resume
    #[arg(long)]
    pub(super) id: Option<String>,
    /// Close the channel, after the event if there is one
    #[arg(long)]
    pub(super) close: bool,
    /// Take the event out of the history after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(super) ttl: Option<u64>,
    /// Publish nothing if this key has been used before
    #[arg(long, value_name = "KEY")]
    pub(super) dedupe: Option<String>,
    /// Print the reply as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Where,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Pipe {
    /// The channel
    pub(super) channel: Channel,
    /// The name of every event
    #[arg(long, value_name = "NAME")]
    pub(super) event: Option<String>,
    /// Close the channel after the last line
    #[arg(long)]
    pub(super) close: bool,
    /// Write everything to standard output as well
    #[arg(long)]
    pub(super) tee: bool,
    /// How much is kept in memory while outboard is away; then the oldest lines go
    #[arg(long, value_name = "SIZE", default_value = "16MiB")]
    pub(super) spool: Size,
    /// How long outboard is waited for after the end of the input
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) wait: humantime::Duration,
    #[command(flatten)]
    pub(super) place: Where,
}

#[derive(Args, Debug)]
pub(super) struct Tail {
    /// The channel
    #[arg(value_parser = Channel::parse_any)]
    pub(super) channel: Channel,
    /// What of the past comes first: all, live (nothing), or the newest N
    #[arg(long, value_name = "all|live|N", default_value = "live")]
    pub(super) replay: Start,
    /// Print each event as one line of JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Where,
}

#[derive(Args, Debug)]
pub(super) struct Channels {
    /// Only those whose names match, as in 'job-*'
    #[arg(long = "match", value_name = "GLOB")]
    pub(super) matching: Option<String>,
    /// Print each channel as one line of JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Where,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// The page of this command alone
    pub(super) command: Option<String>,
    /// Write each page to a file of its own in this folder, as in outboard-pipe.1
    #[arg(long, value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Demo {
    /// Where the browser connects; else 127.0.0.1:8000, or the next port that is free
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<SocketAddr>,
}
