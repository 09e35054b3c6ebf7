//! Runs without a network: because of a flag or a variable, or because the hub does not answer.

use std::net::TcpListener;

use super::*;

/// A listening port that counts connections, and its URL.
fn trap() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

const EXPLAIN: [&str; 7] = ["explain", "--model", ID, "--src", "a cat", "--dst", "a dog"];

#[test]
fn offline_opens_no_connection() {
    let place = Place::new();
    place.open(ID).unwrap();
    let (listener, address) = trap();
    let everywhere = |command: &mut Command| {
        command.env("HF_ENDPOINT", &address);
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(proxy, &address);
        }
    };
    let run = |args: &[&str], variable: Option<&str>| {
        let mut command = place.command(args);
        everywhere(&mut command);
        variable.map(|variable| command.env(variable, "yes"));
        command.output().unwrap()
    };
    let offline = [&EXPLAIN[..], &["--offline"]].concat();
    let drawn = [
        "edit",
        "--model",
        ID,
        "--src",
        "a cat",
        "--dst",
        "a dog",
        "--steps",
        "1",
        "--offline",
    ];
    for (args, variable) in [
        (&offline[..], None),
        (&drawn, None),
        (&EXPLAIN, Some("HF_HUB_OFFLINE")),
        (&EXPLAIN, Some("TRANSFORMERS_OFFLINE")),
        (&["models", "ls"], None),
        (&["models", "path", ID], None),
        (&["doctor"], None),
    ] {
        let output = run(args, variable);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    }
    let accepted = listener.accept();
    assert!(accepted.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    // The trap catches a run with a network.
    let online = run(&EXPLAIN, None);
    assert!(listener.accept().is_ok());
    assert!(
        online.status.success(),
        "what the cache has will do: {}",
        stderr(&online)
    );
}

#[test]
fn what_the_cache_lacks_says_how_to_get_it() {
    let place = Place::new();
    let refused = |args: &[&str], variable: Option<&str>| {
        let mut command = place.command(args);
        variable.map(|variable| command.env(variable, "1"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(4));
        stderr(&output)
    };
    let offline = [&EXPLAIN[..], &["--offline"]].concat();
    let said = refused(&offline, None);
    assert!(
        said.contains("ada/mini-sd is not in the cache, and --offline"),
        "{said}"
    );
    assert!(said.contains("p2p models pull ada/mini-sd"), "{said}");
    let said = refused(&EXPLAIN, Some("HF_HUB_OFFLINE"));
    assert!(
        said.contains("HF_HUB_OFFLINE keeps p2p off the network"),
        "{said}"
    );
    assert!(said.contains("HF_HUB_OFFLINE=0 p2p models pull"), "{said}");
    // After `explain` the cache has the configs but not the weights.
    place.succeed(&EXPLAIN);
    place.succeed(&offline);
    let said = refused(
        &[
            "edit",
            "--model",
            ID,
            "--src",
            "a cat",
            "--dst",
            "a dog",
            "--offline",
        ],
        None,
    );
    assert!(
        said.contains("unet/diffusion_pytorch_model.safetensors of ada/mini-sd"),
        "{said}"
    );
    let revision = [&offline[..], &["--revision", "v2"]].concat();
    let said = refused(&revision, None);
    assert!(said.contains("revision v2 of ada/mini-sd"), "{said}");
}

#[test]
fn nobody_answers() {
    let place = Place::new();
    let gone = {
        let (listener, address) = trap();
        drop(listener);
        address
    };
    let explain = || {
        let mut command = place.command(&EXPLAIN);
        command.env("HF_ENDPOINT", &gone).output().unwrap()
    };
    let output = explain();
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(
        said.contains("cannot reach") && said.contains("refused"),
        "{said}"
    );
    assert!(
        said.contains("HTTPS_PROXY") && said.contains("HF_ENDPOINT"),
        "{said}"
    );
    // With a copy in the cache, the error becomes a warning.
    place.succeed(&EXPLAIN);
    let output = explain();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("warning:") && said.contains("using the files of ada/mini-sd in the cache"),
        "{said}"
    );
    place.mock.fault(|_| Some(Response::new(503, "")));
    let output = place.succeed(&EXPLAIN);
    assert!(
        stderr(&output).contains("answers 503"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_proxy_is_asked_and_hosts_are_left_out() {
    let place = Place::new();
    let proxied = |variables: &[(&str, &str)]| place.open_with(&ModelSource::named(ID), variables);
    let (listener, address) = trap();
    drop(listener);
    let error = proxied(&[("http_proxy", &address)]).unwrap_err();
    assert!(error.to_string().contains("cannot reach"), "{error}");
    proxied(&[
        ("http_proxy", &address),
        ("NO_PROXY", "example.org, 127.0.0.1"),
    ])
    .unwrap();
    // The proxy's password is not shown.
    let place = Place::new();
    let secret = address.replace("http://", "http://user:passWord@");
    let error = place.open_with(&ModelSource::named(ID), &[("HTTP_PROXY", &secret)]);
    let error = error.unwrap_err().to_string();
    assert!(!error.contains("passWord"), "{error}");
}
