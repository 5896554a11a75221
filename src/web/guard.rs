//! Who may call.
//!
//! Three ways in are shut. From another machine: nothing but loopback is listened at without a token. From a page of somebody else in
//! the user's own browser: a browser names the page that a request comes from in `Origin` or `Sec-Fetch-Site`, and only our own may ask. From a
//! name that somebody else's server points at this machine (DNS rebinding): on loopback the request has to be for loopback by name.

use super::{Reply, WebError};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};

/// Characters of a token: 16 of base64 are 96 bits.
const LEAST: usize = 16;
const MOST: usize = 256;

/// What a request is held against.
#[derive(Clone)]
pub struct Guard {
    /// SHA-256 of the token: two of those are compared without telling how far they agree.
    token: Option<[u8; 32]>,
    loopback: bool,
}

impl Guard {
    /// For an address and the token that was written down, if any; spaces and lines around it do not count.
    pub fn new(address: SocketAddr, token: Option<&str>) -> Result<Guard, WebError> {
        let loopback = address.ip().is_loopback();
        let token = token.map(str::trim);
        match token {
            None if !loopback => return Err(WebError::NoToken { address }),
            Some(text)
                if !(LEAST..=MOST).contains(&text.len())
                    || !text.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                return Err(WebError::Token {
                    least: LEAST,
                    most: MOST,
                });
            }
            _ => {}
        }
        Ok(Guard {
            token: token.map(|text| Sha256::digest(text).into()),
            loopback,
        })
    }

    /// Whether a request comes from where it may, by its headers; what it gets if not.
    pub fn admits(&self, headers: &HeaderMap) -> Result<(), Reply> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let host = text(HOST).unwrap_or("");
        if self.loopback && !is_loopback(host) {
            let what =
                "this field is reached as localhost only; open http://localhost and the port";
            return Err(Reply::error(421, what));
        }
        let own = |origin: &str| {
            let page = origin.split_once("://").map(|(_, page)| page);
            page.is_some_and(|page| page.eq_ignore_ascii_case(host))
        };
        match text(ORIGIN) {
            Some(origin) if !own(origin) => Err(Reply::error(403, "another page asks for this")),
            _ => Ok(()),
        }
    }

    /// Whether a request may ask for something of the field: none that the browser made for another page, which for pictures says so in
    /// `Sec-Fetch-Site` alone, and with the token, where there is one.
    pub fn knows(&self, headers: &HeaderMap) -> Result<(), Reply> {
        let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
        if !matches!(site, None | Some(b"same-origin" | b"none")) {
            return Err(Reply::error(403, "another page asks for this"));
        }
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
        let given: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
        let differ = token.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        match std::hint::black_box(differ) {
            0 => Ok(()),
            _ => Err(Reply::error(
                401,
                "this takes the token: a header Authorization: Bearer TOKEN, or the page's address with #token=TOKEN",
            )),
        }
    }
}

/// Whether `Host` names this machine to itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name
        .strip_prefix('[')
        .and_then(|n| n.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(address: &str, token: Option<&str>) -> Result<Guard, WebError> {
        Guard::new(address.parse().unwrap(), token)
    }

    fn headers(some: &[(HeaderName, &str)]) -> HeaderMap {
        let some = some.iter().cloned();
        some.map(|(name, value)| (name, value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn beyond_loopback_nothing_listens_without_a_token() {
        for address in ["0.0.0.0:80", "192.168.1.5:80", "[::]:80"] {
            assert!(
                matches!(guard(address, None), Err(WebError::NoToken { .. })),
                "{address}"
            );
            assert!(guard(address, Some(TOKEN)).is_ok(), "{address}");
        }
        for address in ["127.0.0.1:80", "[::1]:80", "127.9.9.9:80"] {
            assert!(guard(address, None).is_ok(), "{address}");
        }
    }

    #[test]
    fn a_token_is_long_enough_and_without_spaces() {
        let of = |token: &str| guard("127.0.0.1:80", Some(token));
        assert!(of("  0123456789abcdef\n").is_ok());
        for token in [
            "",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456789abcdéf",
            &"a".repeat(257),
        ] {
            assert!(matches!(of(token), Err(WebError::Token { .. })), "{token}");
        }
    }

    #[test]
    fn on_loopback_a_request_has_to_be_for_loopback() {
        let guard = guard("127.0.0.1:80", None).unwrap();
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(guard.admits(&headers(&[(HOST, host)])).is_ok(), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "192.168.1.5:8080",
            "::2",
            "localhost:x",
        ] {
            let refused = guard.admits(&headers(&[(HOST, host)])).unwrap_err();
            assert_eq!(refused.status, 421, "{host}");
        }
        assert_eq!(guard.admits(&headers(&[])).unwrap_err().status, 421);
    }

    #[test]
    fn only_our_own_page_may_ask() {
        let guard = guard("0.0.0.0:80", Some(TOKEN)).unwrap();
        let from = |origin| guard.admits(&headers(&[(HOST, "board:8080"), (ORIGIN, origin)]));
        assert!(from("http://board:8080").is_ok());
        assert!(from("https://Board:8080").is_ok());
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://board",
            "http://board:8080.evil.example",
        ] {
            assert_eq!(from(origin).unwrap_err().status, 403, "{origin}");
        }
    }

    #[test]
    fn pictures_in_other_pages_are_not_shown() {
        let guard = guard("127.0.0.1:80", None).unwrap();
        let site = |value| {
            guard.knows(&headers(&[(
                HeaderName::from_static("sec-fetch-site"),
                value,
            )]))
        };
        for value in ["same-origin", "none"] {
            assert!(site(value).is_ok(), "{value}");
        }
        for value in ["cross-site", "same-site", ""] {
            assert_eq!(site(value).unwrap_err().status, 403, "{value}");
        }
    }

    #[test]
    fn the_token_and_nothing_else_is_known() {
        let guard = guard("0.0.0.0:80", Some(TOKEN)).unwrap();
        let with = |value| guard.knows(&headers(&[(AUTHORIZATION, value)]));
        assert!(with("Bearer 0123456789abcdef").is_ok());
        for value in [
            "",
            "Bearer ",
            "Bearer 0123456789abcdee",
            "Bearer 0123456789abcdef0",
            "bearer 0123456789abcdef",
            TOKEN,
        ] {
            assert_eq!(with(value).unwrap_err().status, 401, "{value}");
        }
        assert_eq!(guard.knows(&headers(&[])).unwrap_err().status, 401);
    }
}
