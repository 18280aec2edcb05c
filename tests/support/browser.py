"""What a browser test does to the app; each action waits until the app has settled, before and after.

Streamlit runs a page's script again after most actions and replaces what the script drew. What is typed or clicked
meanwhile can be lost, on a slow machine more often than on a fast one. So tests type and click through this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Locator, Page, Position

TIMEOUT_MS = 60_000

# Reads the first level of Streamlit's messages: between a click and the server's first answer nothing in the DOM says
# that a run is to come. Counts frames in which nothing has changed, and not milliseconds alone: on a busy machine time
# passes without a frame.
_WATCH = """
((RERUN, NEW_SESSION, FINISHED) => {
  const QUIET_FRAMES = 10, QUIET_MS = 200;
  let asked = false, begun = false, changedAt = performance.now(), quietFrames = 0;
  const change = () => { changedAt = performance.now(); quietFrames = 0; };
  const fields = (data) => {
    const isView = ArrayBuffer.isView(data), found = [];
    const bytes = isView ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    let at = 0;
    const varint = () => {
      let value = 0, scale = 1, byte;
      do { byte = bytes[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte & 128);
      return value;
    };
    while (at < bytes.length) {
      const tag = varint();
      found.push(Math.floor(tag / 8));
      const size = varint();
      if (tag % 8 === 2) at += size;
    }
    return found;
  };
  window.WebSocket = class extends WebSocket {
    constructor(...words) {
      super(...words);
      asked = begun = false;
      this.addEventListener("message", ({ data }) => {
        const found = fields(data);
        if (found.includes(NEW_SESSION)) begun = true;
        if (found.includes(FINISHED) && begun) asked = false;
        change();
      });
    }
    send(data) {
      if (data.byteLength && fields(data).includes(RERUN)) { asked = true; begun = false; }
      change();
      super.send(data);
    }
  };
  const everything = { attributes: true, characterData: true, childList: true, subtree: true };
  new MutationObserver(change).observe(document, everything);
  window.hasSettled = () => {
    const app = document.querySelector("[data-testid=stApp]");
    const isIdle = app?.dataset.testScriptState === "notRunning" && app.dataset.testConnectionState === "CONNECTED";
    if (!isIdle || asked || document.querySelector("[data-stale=true], [data-testid=stSkeleton]")) quietFrames = 0;
    else quietFrames += 1;
    return quietFrames > QUIET_FRAMES && performance.now() - changedAt > QUIET_MS;
  };
})
"""
_FIELDS = (
    BackMsg.RERUN_SCRIPT_FIELD_NUMBER,
    ForwardMsg.NEW_SESSION_FIELD_NUMBER,
    ForwardMsg.SCRIPT_FINISHED_FIELD_NUMBER,
)


def watch(page: Page) -> None:
    """Have each document of a page tell whether its app has settled; before the first is opened."""
    page.add_init_script(f"({_WATCH.strip()}){_FIELDS}")


def settled(page: Page | Frame) -> None:
    """Wait until every asked for run of the script is over and what it drew stands."""
    page.wait_for_function("() => window.hasSettled()", timeout=TIMEOUT_MS)


def visit(page: Page, address: str) -> None:
    """Open an address of the app and wait for the whole page."""
    page.goto(address)
    settled(page)


def field(page: Page, label: str) -> Locator:
    """The one field of this label that can be seen; the tabs that are not open have theirs."""
    return page.get_by_label(label, exact=True).locator("visible=true")


def fill(box: Locator, text: str) -> None:
    """Type a text into a field, leave it, and see that it stayed."""
    settled(box.page)
    box.fill(text)
    box.press("Tab")
    settled(box.page)
    expect(box).to_have_value(text)


def enter(box: Locator, text: str) -> None:
    """Type a text that the field takes with Enter, such as a new value of a list."""
    settled(box.page)
    box.fill(text)
    box.press("Enter")
    settled(box.page)


def press(what: Locator, position: Position | None = None) -> None:
    """Click a button, a link or a place in a table, and wait for all that follows from it."""
    settled(what.page)
    what.click(position=position)
    settled(what.page)


def press_key(page: Page, key: str) -> None:
    """Press a key where the focus is, and wait for all that follows from it."""
    settled(page)
    page.keyboard.press(key)
    settled(page)


def tab_to(what: Locator) -> None:
    """Go on with the Tab key until an element has the focus; not more than a hundred times."""
    settled(what.page)
    for _ in range(100):
        what.page.keyboard.press("Tab")
        if what.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"the Tab key does not reach {what}")


def open_tab(page: Page, name: str) -> None:
    """Open a tab and wait for what is in it."""
    tab = page.get_by_role("tab", name=name)
    press(tab)
    expect(tab).to_have_attribute("aria-selected", "true")


def choose(box: Locator, option: str) -> None:
    """Choose one option of a list, and close the list."""
    press(box)
    press(box.page.get_by_role("option", name=option))
    if box.get_attribute("aria-expanded") == "true":
        press_key(box.page, "Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
