//! `flowers serve`, the program itself behind a socket.

mod collection;
mod contract;
mod hostile;
mod lifecycle;
mod limits;
mod listening;
