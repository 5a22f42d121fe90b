"""The page at `/`: its files, and a person who uses it in Chromium.

Without Chromium and its driver (Debian: chromium, chromium-driver) what a person does is skipped.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import visibility_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

from tests.serve.conftest import KEY, RunningServer, running

_PATIENCE_SECONDS = 60
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def test_its_files_are_all_of_this_server(server: RunningServer) -> None:
    """Without a key; none of them names an address of another host."""
    with httpx2.Client(base_url=server.address) as web:
        page = web.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert '<option value="es">spanish</option>' in page.text
        names = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
        found = {"/": page.text}
        while waiting := names - set(found):
            name = waiting.pop()
            asset = web.get(name)
            assert asset.status_code == 200, name
            assert asset.headers["x-content-type-options"] == "nosniff"
            assert asset.headers["content-type"].startswith(("text/javascript", "text/css"))
            found[name] = asset.text
            names |= {f"/static/{each}" for each in re.findall(r'from "\./([^"]+)"', asset.text)}
            names |= set(re.findall(r'"(/static/[^"]+)"', asset.text))
        assert len(found) == 8
        assert not any("://" in text.replace("://${location.host}", "") for text in found.values())
        assert web.get("/static/missing.js").status_code == 404
        assert web.get("/static/..%2Fapp.py").status_code == 404


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for what the browser downloads."""
    return tmp_path_factory.mktemp("downloads")


@contextmanager
def chromium_without_window(downloads: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    """Runs Chromium with these flags, and ends it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, *flags):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[webdriver.Chrome]:
    """Chromium for the tests of this file."""
    with chromium_without_window(downloads) as chrome:
        yield chrome


def appeared(browser: webdriver.Chrome, selector: str) -> WebElement:
    """Waits for an element that can be seen, and returns it."""
    condition = visibility_of_element_located((By.CSS_SELECTOR, selector))
    return WebDriverWait(browser, _PATIENCE_SECONDS).until(condition)


def test_a_person_transcribes_corrects_and_downloads(
    browser: webdriver.Chrome, downloads: Path, server: RunningServer, jfk: Path
) -> None:
    browser.get(server.address)
    appeared(browser, "#key").send_keys(KEY + Keys.TAB)
    appeared(browser, "#model option")
    browser.find_element(By.ID, "file").send_keys(str(jfk))
    browser.find_element(By.ID, "start").send_keys(Keys.ENTER)
    first = appeared(browser, "#segments [contenteditable]")
    text = " ".join(
        each.text for each in browser.find_elements(By.CSS_SELECTOR, "#segments [contenteditable]")
    )
    assert "ask not what your country can do for you" in text
    assert browser.find_element(By.ID, "status").text.startswith("English, 0:11 in ")
    is_drawn = """const c = document.getElementById("wave");
        return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((x) => x > 0)"""
    assert browser.execute_script(is_drawn)
    first.send_keys(Keys.HOME, "Well --> ")
    browser.find_element(By.CSS_SELECTOR, '[data-format="srt"]').click()
    captions = wait_for_file(downloads / f"{jfk.stem}.srt")
    assert captions.startswith("1\n00:00:00,000 --> 00:00:0")
    assert "\nWell -> And so" in captions
    messages = [str(entry["message"]) for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert [each for each in messages if "/v1/models - " not in each] == []  # before the key: 401


@pytest.mark.full
def test_a_person_speaks(downloads: Path, jfk: Path) -> None:
    """A recording stands in for the microphone; in real time, so it takes as long as that."""
    microphone = f"--use-file-for-fake-audio-capture={jfk}%noloop"
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", microphone)
    with running() as server, chromium_without_window(downloads, *flags) as browser:
        browser.get(server.address)
        appeared(browser, "#model option")
        browser.find_element(By.ID, "speak").click()
        appeared(browser, "#stop")
        live = browser.find_element(By.ID, "stream")
        WebDriverWait(browser, _PATIENCE_SECONDS).until(lambda _: "your country." in live.text)
        browser.find_element(By.ID, "stop").click()
        appeared(browser, "#segments li")
        assert "fellow American" in browser.find_element(By.ID, "segments").text
        captions = downloads / "spoken.srt"
        browser.find_element(By.CSS_SELECTOR, '[data-format="srt"]').click()
        assert "fellow American" in wait_for_file(captions)


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen(
    browser: webdriver.Chrome, server: RunningServer, width: int, scheme: str
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(server.address)
    appeared(browser, "#drop")
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert (brightness > 200) == (scheme == "light")


def test_it_is_used_by_keyboard_alone(browser: webdriver.Chrome, server: RunningServer) -> None:
    browser.get(server.address)
    appeared(browser, "#key")
    reached = []
    for _ in range(9):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(browser.switch_to.active_element.get_attribute("id"))
    assert [each for each in reached if each] == [
        "file", "model", "language", "task", "vad", "key", "speak"
    ]  # fmt: skip


def wait_for_file(path: Path) -> str:
    """Returns a file's text once it is there."""
    for _ in range(_PATIENCE_SECONDS * 10):
        if path.exists():
            return path.read_text(encoding="utf-8")
        time.sleep(0.1)
    raise AssertionError(f"{path.name} was not downloaded")
