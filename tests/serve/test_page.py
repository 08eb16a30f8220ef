"""The page in a real browser: typing, scripts of the world, markup, keys, widths and colours."""

import shutil
from collections.abc import Iterator

import pytest
from filelock import FileLock

from hybrid_ir.pages import KINDS, choose_look
from tests.serve.conftest import KEYS, MARKUP, QUESTIONS, SUBJECTS, start_server, stop_server
from tests.support.command_line import HANG_SECONDS

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

WAIT_MILLISECONDS = 1000 * HANG_SECONDS
TOKEN = "a-token-of-letters-1"
LEAST_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3, level AA
# Lists every visible text whose colour is too near to that behind it.
FIND_LOW_CONTRAST = """least => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const read = color => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const getLuminance = color => {
    const [r, g, b] = color.slice(0, 3).map(value => value / 255)
      .map(value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const problems = [];
  let texts = 0;
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!hasText || !element.checkVisibility() || element.closest(".for-readers-only, .skip")) {
      continue;
    }
    texts += 1;
    let behind = element;
    let background = read(getComputedStyle(behind).backgroundColor);
    while (background[3] < 255 && behind.parentElement) {
      behind = behind.parentElement;
      background = read(getComputedStyle(behind).backgroundColor);
    }
    const ink = getLuminance(read(getComputedStyle(element).color));
    const paper = getLuminance(background);
    const contrast = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
    if (contrast < least) problems.push(`${element.textContent.slice(0, 40)}: ${contrast}`);
  }
  return {texts, problems};
}"""


def find_chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no chromium on PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser) -> Iterator:
    """A window that notes everything that is asked of another server, and every error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT_MILLISECONDS)
    yield context
    context.close()


@pytest.fixture
def page(context, server) -> Iterator:
    """The page of the server, ready to be asked; it has no errors and asks nobody else."""
    page = context.new_page()
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    page.wait_for_selector("#search:not([hidden])")
    yield page
    page.close()
    assert problems == []
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []


def ask(page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.wait_for_function(
        "question => state.answer && state.answer.question === question", arg=question
    )


def list_texts(page, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def test_a_typed_question_is_ranked_by_both_models(page):
    page.keyboard.type("What is the capital")  # the box has the focus
    page.wait_for_selector("#suggestions li")
    assert page.get_attribute("#question", "aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#question", "aria-activedescendant") == "suggestion-0"
    page.keyboard.press("Enter")
    page.wait_for_selector("#results:not([hidden])")
    assert page.input_value("#question") == QUESTIONS["en"].format(0)
    assert list_texts(page, ".ranking h3") == ["first", "second"]
    assert page.locator(".ranking").first.locator(".hit").count() == 10
    places = list_texts(page, "#answer-table tbody tr")
    assert len(places) == 4  # the answer in each language, also below the shown hits
    assert "10 hits" in page.text_content("#status")
    assert page.locator(".moves path").count() > 0
    assert page.locator(".mix").count() == 3
    pool = list_texts(page, ".mix-row:last-child .mix-numbers li")
    assert pool == ["English 27%", "Arabic 24%", "German 24%", "Chinese 24%"]


@pytest.mark.parametrize("language", ["ar", "zh"])
def test_arabic_and_chinese_questions_and_passages_stand_right(page, language):
    ask(page, QUESTIONS[language].format(3))
    direction = "rtl" if language == "ar" else "ltr"
    is_ltr = page.evaluate("getComputedStyle(document.querySelector('#question')).direction")
    assert is_ltr == direction
    page.wait_for_selector(f"#answer-table .text[lang={language}]")
    found = page.locator(f"#answer-table .text[lang={language}]")
    assert found.get_attribute("dir") == "auto"
    assert found.evaluate("one => getComputedStyle(one).direction") == direction


def test_markup_in_passages_and_questions_is_shown_as_text(page):
    ask(page, MARKUP)
    page.click("#filters summary")
    page.select_option("#hits", "100")
    page.wait_for_function("() => state.answer.models[0].hits.length === 41")
    assert MARKUP in list_texts(page, ".hit .text")
    assert page.locator("main img, main .hit b:not(.language b)").count() == 0
    assert page.title() == "first and second – hybrid-ir"


def test_an_empty_and_a_huge_question_are_refused_in_words(page):
    page.press("#question", "Enter")
    assert page.text_content("#error") == "The question is empty: type one."
    page.fill("#question", "x" * 100_000)
    page.press("#question", "Enter")
    page.wait_for_function("() => document.querySelector('#error').textContent.includes('100,000')")
    assert "may have 500" in page.text_content("#error")
    ask(page, "and now a good one")
    assert page.is_hidden("#error")


def test_the_keyboard_is_enough(page):
    ask(page, QUESTIONS["de"].format(1))
    page.keyboard.press("ArrowDown")
    assert page.evaluate("listHits().indexOf(document.activeElement)") == 0
    page.keyboard.press("ArrowDown")
    assert page.evaluate("listHits().indexOf(document.activeElement)") == 1
    page.keyboard.press("ArrowRight")
    assert page.evaluate("listHits().indexOf(document.activeElement)") == 11
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "question"
    assert page.input_value("#question") == QUESTIONS["de"].format(1)


def test_filters_choose_languages_and_numbers_of_hits(page):
    ask(page, QUESTIONS["en"].format(2))
    page.click("#filters summary")
    page.click("#none")
    assert page.text_content("#error") == "Choose at least one language."
    page.check("#languages input[value=zh]")
    page.wait_for_function("() => Object.keys(state.answer.pool).join() === 'zh'")
    assert set(list_texts(page, ".hit .language b")) == {"zh"}
    assert page.text_content("#filter-summary") == "1 of 4, 10 hits"
    assert "(left out)" in page.text_content("#answer-table")
    page.click("#all")
    page.wait_for_function("() => Object.keys(state.answer.pool).length === 4")


def test_the_heat_map_has_a_cell_for_each_pair_of_languages(page):
    page.wait_for_selector("#heat-maps table")
    assert page.locator("#heat-maps table").count() == 2
    assert page.locator("#heat-maps td[class^=s]").count() == 2 * 4 * 4


def test_a_heat_map_that_is_too_wide_says_that_it_goes_on(page):
    page.wait_for_selector("#heat-maps table")
    hint = page.locator("#heat-maps .hint").first
    hint.wait_for(state="hidden")
    page.set_viewport_size({"width": 160, "height": 800})
    hint.wait_for(state="visible")


def test_a_switch_shows_one_model_at_a_time_where_there_is_little_room(page):
    ask(page, QUESTIONS["en"].format(3))
    rankings = page.locator(".ranking")
    assert page.is_hidden(".switch")
    assert rankings.nth(0).is_visible()
    assert rankings.nth(1).is_visible()
    page.set_viewport_size({"width": 390, "height": 800})
    second = page.get_by_role("button", name="second", exact=True)
    assert second.get_attribute("aria-pressed") == "false"
    assert rankings.nth(1).is_hidden()
    second.press("Enter")
    assert second.get_attribute("aria-pressed") == "true"
    assert rankings.nth(0).is_hidden()
    assert rankings.nth(1).is_visible()
    ask(page, QUESTIONS["en"].format(4))
    assert rankings.nth(1).is_visible()  # a later question leaves the choice as it is
    page.keyboard.press("ArrowDown")
    assert page.evaluate("listHits().indexOf(document.activeElement)") == 10
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("listHits().indexOf(document.activeElement)") == 0
    assert rankings.nth(0).is_visible()


def test_places_that_a_hit_gains_or_loses_are_no_praise(page):
    ask(page, QUESTIONS["en"].format(3))
    colours = page.evaluate(
        """() => [...document.querySelectorAll(".hit .move, .hit .place")]
             .map(one => getComputedStyle(one).color)"""
    )
    assert len(set(colours)) == 1
    assert "▲ 12: stands 12 places higher here" in page.text_content("#hits-note")


def test_nothing_stands_empty_between_the_filters_and_the_examples(page):
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_selector("#example-list li")
        filters = page.locator("#filters").bounding_box()
        examples = page.locator("#examples h2").bounding_box()
        assert examples["y"] - (filters["y"] + filters["height"]) < 30


def test_looks_of_languages_are_those_of_other_pages(page):
    looks = page.evaluate(
        """kinds => {
          const languages = state.about.languages;
          state.about.languages = Object.fromEntries(kinds.map(kind => [`x${kind}`, 1]));
          const looks = Object.keys(state.about.languages).map(chooseLook);
          state.about.languages = languages;
          return looks;
        }""",
        list(range(1, KINDS + 2)),
    )
    assert looks == [choose_look(kind) for kind in range(1, KINDS + 2)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_their_width_and_can_be_read(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    ask(page, QUESTIONS["ar"].format(4))
    page.wait_for_selector("#heat-maps table")
    page.click("#filters summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".hint:visible").count() == 0  # every table fits
    measured = page.evaluate(FIND_LOW_CONTRAST, LEAST_CONTRAST)
    assert measured["problems"] == []
    assert measured["texts"] > 100
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue < 200) == (scheme == "dark")


def test_the_description_of_the_routes_works_offline(page, server):
    page.goto(f"{server.url}docs")
    page.wait_for_selector("#operations-default-search_search_post")
    assert page.locator(".opblock").count() == 5


def test_numbers_say_what_is_counted(page):
    counts = "describeQuestions({questions: 3552, repeated_questions: 18})"
    expected = "3,552 different questions with known answers (18 more have the text of another)."
    assert page.evaluate(counts) == expected
    one = "describeQuestions({questions: 1, repeated_questions: 0})"
    assert page.evaluate(one) == "1 question with known answers."
    progress = "describeProgress({done: 256, total: 2178, seconds_left: 20, part: 'model 1 of 2'})"
    expected = "256 of 2,178 texts, about 20 seconds left for model 1 of 2"
    assert page.evaluate(progress) == expected
    assert page.evaluate("describeShare(7140)") == " (3,570 by each model)"


def test_while_the_model_loads_the_page_shows_progress(browser, server, served_place):
    # Another cache, in which somebody else is about to encode the passages.
    [index] = [one.parent for one in (served_place / "cache" / "serve").glob("*/index.json")][:1]
    cache = served_place / "other_cache"
    locks = cache / "serve" / f".{index.name}.locks"
    locks.mkdir(parents=True)
    name = "first" if '"name": "first"' in (index / "index.json").read_text() else "second"
    context = browser.new_context()
    context.set_default_timeout(WAIT_MILLISECONDS)
    with FileLock(locks / "vectors-00000.lock"):
        keys = (f"model={name}", f"token={TOKEN}", *KEYS)
        loading = start_server(served_place, *keys, HYBRID_IR_CACHE=str(cache))
        page = context.new_page()
        page.goto(loading.url)
        assert "needs its token" in page.text_content("body")
        page.goto(f"{loading.url}?token={TOKEN}")
        assert page.url == loading.url  # the token is in a cookie, and not in the history
        page.wait_for_function(
            "count => document.querySelector('#loading-count').textContent.includes(count)",
            arg=f"0 of {len(QUESTIONS) * SUBJECTS + 1} texts",
        )
        assert "ncoding" in page.text_content("#loading-stage")
        refused = loading.ask("search", {"question": "x"}, Authorization=f"Bearer {TOKEN}")
        assert refused.status == 503
        assert refused.json()["error"]["code"] == "loading"
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "hybrid_ir_token_1=x"}):
            assert loading.ask("health", **headers).status == 401
    page.wait_for_selector("#search:not([hidden])")
    ask(page, QUESTIONS["en"].format(1))
    assert page.locator(".hit").count() == 10
    assert page.locator(".moves").count() == 0
    context.close()
    assert stop_server(loading) == 0
