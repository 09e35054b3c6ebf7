//! Redirects: which host a URL belongs to, and where a `Location` header leads. Owns the resolution of
//! relative references (RFC 3986, section 5); it must never know tokens, nor send anything.

use ureq::http::Uri;

/// A server: two URLs with equal origins lead to the same one.
#[derive(Debug, PartialEq, Eq)]
pub struct UrlOrigin {
    scheme: String,
    host: String,
    port: u16,
}

impl UrlOrigin {
    /// The origin of a URL. Letter case and the scheme's default port make no difference.
    pub fn of(uri: &Uri) -> Self {
        let scheme = uri.scheme_str().unwrap_or_default().to_lowercase();
        let default_port = if scheme == "http" { 80 } else { 443 };
        Self {
            host: uri.host().unwrap_or_default().to_lowercase(),
            port: uri.port_u16().unwrap_or(default_port),
            scheme,
        }
    }
}

/// The URL that a `Location` header names, relative to the URL that was requested. `None` if it is not a
/// URL for HTTP.
pub fn resolve(requested: &Uri, location: &str) -> Option<Uri> {
    // The fragment is for browsers.
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, authority) = (requested.scheme_str()?, requested.authority()?);
    let path = requested.path();
    let url = if has_scheme(location) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else {
        let (folder, _) = path.rsplit_once('/')?;
        let joined = without_dot_segments(&format!("{folder}/{location}"));
        format!("{scheme}://{authority}{joined}")
    };
    let uri: Uri = url.parse().ok()?;
    ["http", "https"]
        .contains(&uri.scheme_str()?)
        .then_some(uri)
}

fn has_scheme(location: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    location
        .split_once(':')
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.chars().all(allowed))
}

/// A path and its query, with `.` and `..` in the path carried out.
fn without_dot_segments(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (path_and_query, String::new()),
    };
    let mut kept: Vec<&str> = vec![];
    for segment in path.trim_start_matches('/').split('/') {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_as_rfc_3986_says() {
        let requested: Uri = "http://hub.example:81/ada/x/resolve/main/a.json?download=true"
            .parse()
            .unwrap();
        let hub = "http://hub.example:81";
        for (location, expected) in [
            ("/a/b", format!("{hub}/a/b")),
            ("/a/b?c=d", format!("{hub}/a/b?c=d")),
            ("b.json", format!("{hub}/ada/x/resolve/main/b.json")),
            (
                "b.json?c=d/e",
                format!("{hub}/ada/x/resolve/main/b.json?c=d/e"),
            ),
            ("./c/b.json", format!("{hub}/ada/x/resolve/main/c/b.json")),
            ("../v2/b.json", format!("{hub}/ada/x/resolve/v2/b.json")),
            ("../..", format!("{hub}/ada/x/")),
            ("?c=d", format!("{hub}/ada/x/resolve/main/a.json?c=d")),
            ("/a#part", format!("{hub}/a")),
            ("//store.example/a", "http://store.example/a".to_owned()),
            (
                "https://store.example/a?b",
                "https://store.example/a?b".to_owned(),
            ),
        ] {
            let found = resolve(&requested, location).map(|uri| uri.to_string());
            assert_eq!(found, Some(expected), "{location}");
        }
        for location in [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://",
            "/a b",
        ] {
            assert_eq!(resolve(&requested, location), None, "{location}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let origin = |url: &str| UrlOrigin::of(&url.parse().unwrap());
        assert_eq!(
            origin("http://Hub.example"),
            origin("http://hub.example:80/x")
        );
        for other in [
            "https://hub.example",
            "http://hub.example:81",
            "http://example",
        ] {
            assert_ne!(origin("http://hub.example"), origin(other), "{other}");
        }
    }
}
