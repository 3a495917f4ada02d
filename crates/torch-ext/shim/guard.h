// No exception crosses the border to Rust: it becomes a message, which the caller frees.

#pragma once

#include <c10/util/Exception.h>

#include <cstring>

template <class Body>
void guard(char** error, Body body) {
  try {
    body();
  } catch (const c10::Error& caught) {
    *error = strdup(caught.what_without_backtrace());
  } catch (const std::exception& caught) {
    *error = strdup(caught.what());
  } catch (...) {
    *error = strdup("an exception that is no std::exception");
  }
}
