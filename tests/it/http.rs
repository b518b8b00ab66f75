//! A client that says exactly what it is told, over plain sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const BOUNDARY: &str = "----a-boundary-of-ours";

pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A `multipart/form-data` body in the making.
pub struct Form(Vec<u8>);

impl Form {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn file(self, bytes: &[u8]) -> Self {
        self.part("name=\"file\"; filename=\"photo.jpg\"", bytes)
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), value.as_bytes())
    }

    /// The media type with its boundary, and the whole body.
    pub fn encoded(self) -> (String, Vec<u8>) {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let end = format!("--{BOUNDARY}--\r\n");
        (kind, [&self.0, end.as_bytes()].concat())
    }

    pub fn part(mut self, disposition: &str, bytes: &[u8]) -> Self {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        self.0.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        self
    }
}

impl Request {
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    pub fn form(self, form: Form) -> Self {
        let (kind, body) = form.encoded();
        self.header("Content-Type", &kind).body(body)
    }

    /// The bytes of the request, which asks to close the connection afterwards unless it has a
    /// `Connection` of its own.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n",
            self.method, self.path
        );
        let has = |name: &str| self.headers.iter().any(|(known, _)| known == name);
        if !has("Connection") {
            head += "Connection: close\r\n";
        }
        if !has("Content-Length") && !has("Transfer-Encoding") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    pub fn send(&self, address: SocketAddr) -> Reply {
        self.try_send(address).unwrap()
    }

    pub fn try_send(&self, address: SocketAddr) -> io::Result<Reply> {
        self.over(connect(address)?)
    }

    /// Sends over a connection, and reads the reply.
    pub fn over(&self, mut stream: impl Read + Write) -> io::Result<Reply> {
        // A server that refuses early may not want the rest.
        let sent = stream.write_all(&self.bytes());
        Reply::read(&mut stream).or_else(|cause| sent.and(Err(cause)))
    }
}

/// A connection on which nothing takes longer than half a minute.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

impl Reply {
    /// Reads one reply with a `Content-Length`.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(head.clone()))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().into()))
            .collect();
        let mut reply = Self {
            status,
            headers,
            body: Vec::new(),
        };
        let length = reply.header("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        reply.body = vec![0; length];
        stream.read_exact(&mut reply.body)?;
        Ok(reply)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The reply must be `{"error": ..}` with this status, its message with these words.
    #[track_caller]
    pub fn refused(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        let error = json["error"].as_str().unwrap();
        assert!(error.contains(words), "{words:?} is missing in: {error}");
    }

    /// The reply must be 200; gives its JSON.
    #[track_caller]
    pub fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }
}
