//! `flowers serve`, the program itself behind a socket.

mod collection;
mod contract;
mod habits;
mod hostile;
mod lifecycle;
mod limits;
mod listening;
mod page;
