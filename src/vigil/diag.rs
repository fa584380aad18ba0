//! What the kernel knows of one of our TCP connections (`sock_diag(7)`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// `NLMSG_ERROR`: the kernel says no, or nothing.
const ERROR: u16 = 2;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `TCP_LISTEN`.
const LISTENS: u8 = 10;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// The length of a message's header.
const HEADER: usize = 16;
/// The length of a whole question.
const QUESTION: usize = HEADER + 56;

/// A line to the kernel.
pub(super) struct Kernel(OwnedFd);

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        let line = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        set_socket_timeout(&line, Timeout::Recv, Some(Duration::from_secs(1)))?;
        Ok(Self(line))
    }

    /// How often in a row it has asked the peer of this connection, be it with the same bytes again or with a
    /// probe, and got no answer; `None` if there is no such connection.
    pub(super) fn asked_in_vain(&self, local: SocketAddr, peer: SocketAddr) -> io::Result<Option<u8>> {
        sendto(&self.0, &question(local, peer), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0; 512];
        let (_, length) = recv(&self.0, &mut answer[..], RecvFlags::empty())?;
        Ok(read(&answer[..length.min(answer.len())]))
    }
}

fn question(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let family: u8 = if local.is_ipv4() { 2 } else { 10 };
    let mut question = Vec::with_capacity(QUESTION);
    question.extend((QUESTION as u32).to_ne_bytes());
    question.extend(BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST.to_ne_bytes());
    // A number of the question and one of ours: neither is needed.
    question.extend([0; 8]);
    // struct inet_diag_req_v2: nothing besides what is always told, in any state.
    question.extend([family, TCP, 0, 0]);
    question.extend(u32::MAX.to_ne_bytes());
    question.extend(local.port().to_be_bytes());
    question.extend(peer.port().to_be_bytes());
    question.extend(address(local.ip()));
    question.extend(address(peer.ip()));
    // Any interface, and no cookie.
    question.extend([0; 4]);
    question.extend([0xff; 8]);
    question
}

fn address(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

/// Reads an answer: behind the header `struct inet_diag_msg`, whose fourth byte is the number.
fn read(answer: &[u8]) -> Option<u8> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind == ERROR || kind != BY_FAMILY {
        return None;
    }
    // 1: something is sent again; 4: a window is probed, or a peer that is silent. With none or another of the
    // kernel's timers, nothing is asked.
    let [state, timer, vain] = *answer.get(HEADER + 1..HEADER + 4)? else { return None };
    // In place of a connection that is gone, the kernel tells of the socket that listens there.
    (state != LISTENS).then_some(if matches!(timer, 1 | 2 | 4) { vain } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_knows_our_connections_and_says_so_of_none_that_is_gone() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            // Some machines have no IPv6.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect(("127.0.0.1", port))
                .or_else(|_| TcpStream::connect(("::1", port)))
                .unwrap();
            let (ours, peer) = listener.accept().unwrap();
            let local = ours.local_addr().unwrap();
            let kernel = Kernel::open().unwrap();

            assert_eq!(kernel.asked_in_vain(local, peer).unwrap(), Some(0), "{address}");
            assert_eq!(
                kernel.asked_in_vain(local, SocketAddr::new(peer.ip(), 1)).unwrap(),
                None,
                "{address}"
            );
            drop((client, ours));
        }
    }
}
