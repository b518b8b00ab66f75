//! What the unpickler builds, and what it refuses.

use super::*;
use proptest::prelude::*;

const PERMITTED: &[Global] = &[ORDERED_DICT, ("torch", "Size")];

fn read(input: &[u8]) -> Result<Pickle<'_>> {
    Pickle::read(input, PERMITTED)
}

fn message(input: &[u8]) -> String {
    read(input).unwrap_err().to_string()
}

fn root(input: &[u8]) -> Node<'_> {
    let mut pickle = read(input).unwrap();
    pickle.nodes.swap_remove(pickle.root.0)
}

#[test]
fn numbers_of_every_width() {
    assert_eq!(root(b"\x80\x02K\xff."), Node::Int(255));
    assert_eq!(root(b"\x80\x02M\xe9\x03."), Node::Int(1001));
    assert_eq!(root(b"\x80\x02J\xfd\xff\xff\xff."), Node::Int(-3));
    assert_eq!(root(b"\x80\x02\x8a\x00."), Node::Int(0));
    assert_eq!(root(b"\x80\x02\x8a\x01\xff."), Node::Int(-1));
    assert_eq!(
        root(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."),
        Node::Int(0x1950_a86a_20f9_469c_fc6c)
    );
    let wide = [&b"\x80\x02\x8a\x11"[..], &[1; 17], b"."].concat();
    assert_eq!(root(&wide), Node::Wide);
    assert_eq!(root(b"\x80\x02\x8b\x01\0\0\0\xff."), Node::Int(-1));
    assert_eq!(root(b"\x80\x02G?\xf8\0\0\0\0\0\0."), Node::Float(1.5));
}

#[test]
fn a_global_that_is_not_on_the_list_is_named() {
    assert_eq!(
        message(b"\x80\x02cos\nsystem\nq\0X\x04\0\0\0echo\x85R."),
        "would run os.system, which is refused; \
         save only the parameters: torch.save(model.state_dict(), FILE)"
    );
    assert!(message(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.").contains("posix.system"));
    assert!(message(b"\x80\x02cos\n\x1b[2J\n.").contains(r"os.\u{1b}[2J"));
}

#[test]
fn only_recorded_calls_and_empty_ordered_dicts() {
    assert!(matches!(
        root(b"\x80\x02ctorch\nSize\n)R."),
        Node::Call(("torch", "Size"), _)
    ));
    let dict = b"\x80\x02ccollections\nOrderedDict\n)RK\x01K\x02s}b.";
    assert!(matches!(root(dict), Node::Dict(pairs) if pairs.len() == 1));
    assert!(message(b"\x80\x02K\x01)R.").contains("not a function"));
    assert!(message(b"\x80\x02I7\n.").contains("instruction 0x49"));
    assert!(message(b"\x80\x02]}b.").contains("attributes of a list"));
}

#[test]
fn what_is_put_into_an_object_is_dropped() {
    let object = |rest: &[u8]| [&b"\x80\x02ctorch\nSize\n)\x81"[..], rest, b"."].concat();
    for rest in [
        &b""[..],
        b"}K\x01K\x02sb",
        b"K\x01a",
        b"(K\x01\x90",
        b"K\x01K\x02s",
    ] {
        let object = object(rest);
        assert!(matches!(root(&object), Node::Call(("torch", "Size"), _)));
    }
    let with_keywords = b"\x80\x04ctorch\nSize\n)}\x92.";
    assert!(matches!(root(with_keywords), Node::Call(..)));
    assert!(matches!(root(b"\x80\x04\x8f(K\x01K\x02\x90."), Node::Set(items) if items.len() == 2));
    assert!(matches!(root(b"\x80\x04(K\x01\x91."), Node::Set(items) if items.len() == 1));
    assert!(message(b"\x80\x02cos\nsystem\n)\x81.").contains("os.system"));
}

#[test]
fn a_length_is_not_believed() {
    assert!(message(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.").contains("cut short"));
    assert!(message(b"\x80\x02X\xff\xff\xff\xffabc.").contains("cut short"));
}

#[test]
fn a_mark_guards_what_is_below_it() {
    assert!(message(b"\x80\x02N(0.").contains("empty stack"));
    assert!(message(b"\x80\x02N(\x85.").contains("empty stack"));
    assert!(message(b"\x80\x02}(K\x01u.").contains("key without a value"));
}

#[test]
fn nesting_costs_no_stack_and_sharing_no_memory() {
    let mut deep = b"\x80\x02)".to_vec();
    deep.extend(std::iter::repeat_n(0x85, 900_000));
    deep.push(b'.');
    assert_eq!(read(&deep).unwrap().nodes.len(), 900_001);

    // Each tuple holds the one before twice: 2^30 leaves in 120 bytes.
    let mut wide = b"\x80\x02)".to_vec();
    wide.extend(b"2\x86".repeat(30));
    wide.push(b'.');
    assert_eq!(read(&wide).unwrap().nodes.len(), 31);

    for endless in [&b"N"[..], b"(", b"N2\x94"] {
        let program = endless.repeat(MAX_OBJECTS + 2);
        assert!(message(&program).contains("a million objects"));
    }
}

const OPCODES: &[u8] = b".(012NKMJGXTUBC)t]l}dqrhjcRbQaesu\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x00\x01\n";

proptest! {
    #[test]
    fn any_program_ends(program in prop::collection::vec(prop::sample::select(OPCODES), 0..200)) {
        if let Ok(pickle) = read(&program) {
            prop_assert!(pickle.length <= program.len());
            prop_assert!(pickle.nodes.len() <= program.len());
        }
    }
}
