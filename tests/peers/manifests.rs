//! The manifests for Kubernetes: valid, and what they ask of flowers is what flowers has.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::http::Request;
use crate::needs::kubernetes;
use crate::server::Server;
use crate::support::{Said, model, run};

pub fn manifests_are_valid_and_serve() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut script = Command::new(kubernetes());
    script.arg(root.join("tests/peers/manifests.py"));
    script.arg(root.join("assets/deploy/kubernetes"));
    let containers = Said::of(script.output().unwrap()).done().json();
    assert_eq!(containers.len(), 5, "{containers:?}");
    for container in &containers {
        let arguments: Vec<&str> = texts(&container["arguments"]);
        let help = run([arguments[0], "--help"]).done().stdout;
        for option in arguments
            .iter()
            .filter(|argument| argument.starts_with("--"))
        {
            assert!(help.contains(option), "{container}: {option}");
        }
        if arguments == ["serve"] {
            serves_as(container, &help);
        }
    }
}

/// Starts the server with a container's environment, but for the model and the port.
fn serves_as(container: &Value, help: &str) {
    let mut command = Server::command(&model());
    for (name, value) in container["environment"].as_object().unwrap() {
        assert!(help.contains(&format!("[env: {name}=")), "{name}");
        match &**name {
            "FLOWERS_PORT" => {
                let port = value.as_str().unwrap().parse::<u64>().unwrap();
                assert_eq!(container["ports"], serde_json::json!([port]));
                command.env(name, "0");
            }
            "FLOWERS_MODEL" => {}
            _ => {
                command.env(name, value.as_str().unwrap());
            }
        }
    }
    let server = Server::spawn(command);
    let paths = texts(&container["paths"]);
    assert_eq!(paths.len(), 3);
    for path in paths {
        assert_eq!(
            Request::get(path).send(server.address).status,
            200,
            "{path}"
        );
    }
    let metrics = Request::get("/metrics").send(server.address).text();
    assert!(metrics.contains("flowers_queue_pictures"), "{metrics}");
}

fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|text| text.as_str().unwrap()).collect()
}
