//! The peer of examples/server.c on tokio: one task for each connection, and as little HTTP/1.1 as the C example has.
//!
//!     server PORT

use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Start `echo hi`, and send what it writes as it comes.
async fn answer(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut child = Command::new("echo").arg("hi").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().unwrap();
    let mut bytes = vec![0u8; 65536];
    let mut chunk = HEAD.as_bytes().to_vec();
    loop {
        let n = out.read(&mut bytes).await?;
        if n == 0 {
            break;
        }
        chunk.extend_from_slice(format!("{n:x}\r\n").as_bytes());
        chunk.extend_from_slice(&bytes[..n]);
        chunk.extend_from_slice(b"\r\n");
        socket.write_all(&chunk).await?;
        chunk.clear();
    }
    chunk.extend_from_slice(b"0\r\n\r\n");
    socket.write_all(&chunk).await?;
    child.wait().await?;
    Ok(())
}

async fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut bytes = vec![0u8; 8192];
    socket.set_nodelay(true)?;
    loop {
        let n = socket.read(&mut bytes).await?;
        if n == 0 {
            return Ok(());
        }
        request.extend_from_slice(&bytes[..n]);
        while let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            request.drain(..at + 4);
            answer(&mut socket).await?;
        }
    }
}

async fn listen(port: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            let _ = serve(socket).await; // the client has left, or no process could be made: the connection ends
        });
    }
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(listen(&port))
}
