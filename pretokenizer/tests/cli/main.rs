//! The program as a user meets it: arguments and files in, exit code, messages and files out.

mod workplace; // a working directory, and the program run in it
mod oracle; // the reference's bytes
mod reference; // the same for every name, on inputs of our own
mod demo; // the demo datamix
mod orca; // both schemas of orca-chat and bestofmegacode
mod arguments; // what argparse makes of them
mod rows; // as Python takes them
mod keys; // zero, nothing and null
mod texts; // given as something else
mod generic; // columns that the datamix names, and chat templates
mod hub; // datasets that are fetched
mod ledger; // what became of every row
mod too_long; // a cap on length
mod duplicates; // what stands in the output more than once
mod near_duplicates; // what is much like another
mod special_tokens; // strings of special tokens in texts
mod output_folder; // whole, or not there
mod crash; // killed at any moment
mod parts; // built apart, merged
mod verify; // a whole folder and broken ones
mod check; // what is said before a build
mod diff; // two folders, compared
mod show; // documents, and a page
mod bad_input; // what a user gets wrong
mod bad_files; // what is wrong with files and rows
