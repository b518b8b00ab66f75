//! A real nginx before a server, with a configuration of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::wait_until;

/// Where Debian has it; that folder is in the path of root alone.
pub const PROGRAM: &str = "/usr/sbin/nginx";

pub struct Nginx {
    process: Child,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Forwards `/kept/` as it is, and `/cut/` without the prefix.
    pub fn before(kept: SocketAddr, cut: SocketAddr) -> Self {
        Self::with(|address| {
            format!(
                "server {{
                    listen {address};
                    client_max_body_size 20m;
                    location /kept/ {{ proxy_pass http://{kept}; }}
                    location /cut/ {{ proxy_pass http://{cut}/; }}
                }}"
            )
        })
    }

    /// With sites that listen at an address.
    pub fn with(sites: impl FnOnce(SocketAddr) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let sites = sites(address);
        let configuration = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
                fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
                {sites}
            }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let nginx = Self {
            process: quiet.spawn().unwrap(),
            address,
            _folder: folder,
        };
        wait_until("nginx listens", || TcpStream::connect(address).is_ok());
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
