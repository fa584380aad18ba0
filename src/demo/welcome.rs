//! What the demo says on the terminal when it is ready.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use super::files::Home;
use super::program;

/// Prints where to look and what to try; `moved` if the usual port was taken.
pub(super) fn print(address: SocketAddr, moved: bool, home: &Home) {
    let socket = home.publish_socket();
    say(&text(address, moved, &program().display().to_string(), &socket.display().to_string()));
}

/// Prints a line. That nobody reads it is no reason to stop.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn text(address: SocketAddr, moved: bool, program: &str, socket: &str) -> String {
    let mut lines = vec![
        "outboard demo: a CGI site in plain sh, with outboard in front".to_owned(),
        String::new(),
        format!("    open   http://{address}/"),
        "    end    Ctrl-C (nothing is left behind)".to_owned(),
    ];
    if moved {
        lines.push(String::new());
        lines.push("Port 8000 is taken, so this is the next free one.".to_owned());
    }
    let mut text = framed(&lines);
    // Outside the frame, so that each line can be copied as it is.
    let _ = write!(
        text,
        "\nFrom a second terminal:\n\n\
         alias outboard='{program}'\n\
         export OUTBOARD_SOCKET='{socket}'\n\
         outboard channels                       # what is there, and who listens\n\
         outboard tail ticker                    # the ticker, as the browsers get it\n\
         outboard publish ticker 'hello, all'    # all see this, for a tenth of a second\n\n\
         On the page Messages, log in as Anna, and write to her with nothing but printf and nc:\n\n\
         printf 'channel: user-anna\\ndata: console\\ndata: hello\\n\\n' | nc -NU \"$OUTBOARD_SOCKET\"\n"
    );
    text
}

/// A frame around lines of ASCII.
fn framed(lines: &[String]) -> String {
    let width = lines.iter().map(String::len).max().unwrap_or(0) + 4;
    let rule = "─".repeat(width);
    let mut text = format!("\n╭{rule}╮\n");
    for line in lines {
        let _ = writeln!(text, "│  {line:<inner$}  │", inner = width - 4);
    }
    let _ = writeln!(text, "╰{rule}╯");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_framed_and_the_commands_can_be_copied() {
        let text = text("127.0.0.1:8001".parse().unwrap(), true, "/x/outboard", "/tmp/x/publish.sock");

        let framed: Vec<_> = text.lines().filter(|line| line.starts_with('│')).collect();
        assert!(framed.iter().any(|line| line.contains("http://127.0.0.1:8001/")), "{text}");
        assert!(framed.iter().any(|line| line.contains("Port 8000 is taken")), "{text}");
        assert!(framed.iter().all(|line| line.chars().count() == framed[0].chars().count()), "{text}");
        assert!(text.contains("\nexport OUTBOARD_SOCKET='/tmp/x/publish.sock'\n"), "{text}");
    }
}
