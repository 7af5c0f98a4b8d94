//! Where the binary's evidence goes.

use super::*;
use crate::harness::Wire;

#[cfg(unix)]
#[tokio::test]
async fn metrics_are_served_on_a_socket_or_for_a_token() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("m.sock");
    let token = home.path().join("token");
    std::fs::write(&token, "correct-horse-battery\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (socket, token) = (socket.to_str().unwrap(), token.to_str().unwrap());
    let arguments = [
        "-v",
        "--metrics-socket",
        socket,
        "--metrics-addr",
        "127.0.0.1:0",
        "--metrics-token",
        token,
    ];
    let proxy = Running::start(home.path(), &arguments).await;
    let place = proxy
        .said
        .iter()
        .find_map(|line| line.split_once("metrics at http://"));
    let address: std::net::SocketAddr = place.unwrap().1.trim().parse().unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
    let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let mut wire = Wire::new(stream);
    wire.send(format!("{request}\r\n")).await;
    assert!(wire.message().await.starts_with("HTTP/1.1 200 "));
    let mut wire = Wire::connect(address).await;
    wire.send(format!("{request}\r\n")).await;
    assert!(wire.message().await.starts_with("HTTP/1.1 401 "));
    wire.send(format!(
        "{request}Authorization: Bearer correct-horse-battery\r\n\r\n"
    ))
    .await;
    assert!(wire.message().await.starts_with("HTTP/1.1 200 "));
    proxy.end("TERM").await;
    assert!(!std::path::Path::new(socket).exists());
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_is_told_before_anything_is_served() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let path = file.to_str().unwrap();
    let ports = ["--http-addr", "127.0.0.1:0", "--socks-addr", "127.0.0.1:0"];
    #[cfg(unix)]
    {
        let arguments = [&ports[..], &["--metrics-socket", path]].concat();
        let (code, _, stderr) = run(home.path(), &arguments).await;
        assert_eq!(code, Some(1));
        assert!(
            stderr.ends_with(
                "error: bind metrics endpoint: HOME/file: there is a file that is no socket\n"
            ),
            "{stderr}"
        );
    }
    let arguments = ["--metrics-addr", "127.0.0.1:0", "--metrics-token", path];
    let (code, _, stderr) = run(home.path(), &arguments).await;
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error: the token in `HOME/file` cannot be used: "),
        "{stderr}"
    );
    let (code, _, stderr) = run(home.path(), &["--metrics-addr", "127.0.0.1:0"]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--metrics-token <FILE>"), "{stderr}");
}
