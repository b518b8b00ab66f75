//! Three servers behind nginx as `assets/deploy/nginx-balancer.conf` has it, under load.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::http::{Form, Request};
use crate::nginx::Nginx;
use crate::server::{Server, rose_path};
use crate::support::model;

/// A server on the port of one that is gone.
fn again(gone: &Server) -> Server {
    let mut command = Server::command(&model());
    command.args(["--port", &gone.address.port().to_string()]);
    Server::spawn(command)
}

pub fn no_request_is_lost_when_one_of_three_is_killed_and_one_replaced() {
    let mut servers: Vec<Server> = (0..3).map(|_| Server::start(&[])).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("assets/deploy/nginx-balancer.conf");
    let mut sites = fs::read_to_string(file).unwrap();
    for (server, example) in servers.iter().zip(["10.0.0.11", "10.0.0.12", "10.0.0.13"]) {
        let example = format!("{example}:5000");
        assert!(sites.contains(&example));
        sites = sites.replace(&example, &server.address.to_string());
    }
    let nginx = Nginx::with(|listen| sites.replace("listen 80;", &format!("listen {listen};")));
    let photo = fs::read(rose_path()).unwrap();
    let stop = AtomicBool::new(false);
    let answers: Vec<u16> = thread::scope(|scope| {
        let client = || {
            let mut statuses = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let request = Request::post("/predict").form(Form::new().file(&photo));
                statuses.push(request.send(nginx.address).status);
            }
            statuses
        };
        let clients: Vec<_> = (0..6).map(|_| scope.spawn(client)).collect();
        sleep(Duration::from_secs(1));
        servers[0].process.kill().unwrap();
        servers[0].process.wait().unwrap();
        sleep(Duration::from_secs(1));
        assert!(servers[1].stop().success());
        servers[1] = again(&servers[1]);
        servers[0] = again(&servers[0]);
        sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        let ended = clients.into_iter().map(|client| client.join().unwrap());
        ended.flatten().collect()
    });
    let lost = answers.iter().filter(|&&status| status != 200).count();
    assert_eq!((lost, answers.len() > 100), (0, true), "{}", answers.len());
    for server in &servers {
        let answered =
            "flowers_http_requests_total{route=\"/predict\",method=\"POST\",status=\"200\"} ";
        assert!(
            server.metric(answered) > 0.0,
            "{}",
            server.get("/metrics").text()
        );
    }
}
