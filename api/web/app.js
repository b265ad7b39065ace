// The page of reelseek.  What stands behind "#" in the address is all of its state: q (the query) and filters, m (the
// moment that is open), t (a second of it), view=library.  Whatever comes from files and people becomes text, never markup.

const MODALITIES = { vision: "seen", sound: "heard", speech: "said", text: "written" };
const KINDS = { video: "video", sound: "sound", image: "picture" };
const SINGLE = ["longer", "shorter", "tag", "in", "path", "after", "before", "sure", "by", "copies"]; // filters with one value
const SURE = 0.9; // what looks sure
const CELLS = 240; // points of a lane: a screen shows no more
const BELOW = 3; // of the log odds: what a lane shows below the level of chance
const SLACK = 0.04; // seconds before the end of a moment that still show its last frame
const CLIP = 60; // seconds that are encoded anew at once, of a file that no browser plays

const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((one) => [one.id, one]));
const page = document.body;
const titles = new Map(); // of media, by id
const moments = new Map(); // by reference
const examples = new Map(); // uploaded files, by their terms
let shown = ""; // the search on show
let answer = null;
let flight = null; // the search under way
let playing = null; // what the player has: {ref, moment, element, base, until}
let ticket = 0; // counts what the player was asked for, so that a late reply is known as one

// ---- pieces

/** An element: make("p.note", {title: "…"}, "text", node).  `on…` listens, `--…` is a style; false and null leave out. */
function make(tag, ...inside) {
	const [name, look] = tag.split(".");
	const made = document.createElement(name);
	if (look) made.className = look;
	if (Object.getPrototypeOf(inside[0] ?? 0) === Object.prototype)
		for (const [key, value] of Object.entries(inside.shift())) {
			if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
			else if (key.startsWith("--")) made.style.setProperty(key, value);
			else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
		}
	made.append(...inside.flat(3).filter((part) => part != null && part !== false));
	return made;
}

function draw(tag, traits, ...inside) {
	const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [key, value] of Object.entries(traits)) made.setAttribute(key, value);
	made.append(...inside);
	return made;
}

const icon = (name) => draw("svg", { class: "icon", "aria-hidden": "true" }, draw("use", { href: `#i-${name}` }));
const press = (look, onclick, label, ...inside) => make(`button.${look}`, { type: "button", onclick, ...(inside.length && { "aria-label": label, title: label }) }, inside.length ? inside : label);
const note = (...inside) => make("p.note", ...inside);

function clock(seconds) {
	const tenths = Math.round(Math.max(0, seconds) * 10);
	const two = (number) => String(Math.floor(number)).padStart(2, "0");
	const [hours, minutes] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60];
	return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two((tenths / 10) % 60)}.${tenths % 10}`;
}

const range = (of) => `${clock(of.start_s)}–${clock(of.end_s)}`;
const percent = (share) => (share >= 0.995 ? ">99%" : `${Math.round(100 * share)}%`);
const count = (number, one, more = `${one}s`) => `${number.toLocaleString("en-GB")} ${number === 1 ? one : more}`;
const last = (path) => path.split("/").pop() || path;
const title = (media) => media.title || media.metadata?.title || last(media.path);
const still = (media) => media.kind === "image";
const here = (media) => media.there !== false;
const list = (text) => text.split(/[,;]/).map((one) => one.trim()).filter(Boolean);
const within = (number, least, most) => Math.min(most, Math.max(least, number));

function sureness({ confidence }) {
	const steps = [[0.99, "almost certain"], [0.95, "very sure"], [0.9, "sure"], [0.7, "fairly sure"], [0.4, "unsure"], [0, "a guess"]];
	return `${steps.find(([least]) => confidence >= least)[1]} · ${percent(confidence)}`;
}

/** Text with the characters [from, to) of each of `marks` marked: characters as the server counts them. */
function marked({ text, marks = [] }) {
	const letters = Array.from(text);
	const parts = [];
	let at = 0;
	for (const [from, to] of [...marks].sort((one, other) => one[0] - other[0])) {
		parts.push(letters.slice(at, from).join(""), make("mark", letters.slice(Math.max(at, from), to).join("")));
		at = Math.max(at, to);
	}
	return [...parts, letters.slice(at).join("")];
}

/** `MEDIA@start-end` as media and span, `MEDIA` alone as all of it. */
function parsed(ref) {
	const [, id, start, end] = /^(.+?)(?:@([\d.]+)-([\d.]+))?$/.exec(ref);
	return { id, whole: end === undefined, start_s: Number(start ?? 0), end_s: Number(end) };
}

// ---- server

class Refused extends Error {
	constructor(status, said) {
		super(status ? ((said?.title === "a key is needed" ? said.title : said?.detail) ?? `the server answered ${status}`) : (said ?? "The server cannot be reached."));
		this.status = status;
		this.position = said?.position;
	}
}

/** What the server says, as JSON.  Throws Refused: it refuses, or is not there. */
async function ask(path, options) {
	try {
		const reply = await fetch(path, options);
		const said = /json/.test(reply.headers.get("content-type")) ? await reply.json() : {};
		if (reply.ok) return said;
		if (reply.status === 401 && !ui.door.open) ui.door.showModal();
		throw new Refused(reply.status, said);
	} catch (error) {
		throw error instanceof Refused || error.name === "AbortError" ? error : new Refused(0);
	}
}

const sent = (body, signal) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
const place = (id, rest = "") => `/v1/media/${encodeURIComponent(id)}${rest}`;

/** One line that says what went wrong, and a button where trying again may help. */
function trouble(error, again) {
	const passing = again && [0, 429, 502, 503, 504].includes(error.status);
	return make("p.bad", error.message, " ", passing && press("quiet small", again, "Try again"));
}

// ---- address

const address = () => new URLSearchParams(location.hash.slice(1));

function changed(change) {
	const next = address();
	for (const [key, value] of Object.entries(change)) {
		next.delete(key);
		for (const one of [value ?? ""].flat()) if (one !== "") next.append(key, one);
	}
	return next;
}

function go(change) {
	const hash = `#${changed(change)}`;
	if (hash !== location.hash) history.pushState(null, "", hash);
	return route();
}

const reach = (m, t = "") => go({ m, t });
const inLibrary = () => page.dataset.view === "library";

/** Bring the page to where the address is. */
async function route() {
	const at = address();
	const before = page.dataset.view;
	const view = at.get("view") === "library" ? "library" : at.get("q") ? "answer" : "home";
	page.dataset.view = view;
	ui.toLibrary.ariaCurrent = inLibrary() || null;
	ui.toSearch.ariaCurrent = !inLibrary() || null;
	document.title = `${view === "answer" ? `${at.get("q")} · ` : ""}reelseek`;
	let found;
	if (inLibrary()) before === view || showLibrary();
	else {
		fill(at);
		const search = changed({ m: "", t: "" }).toString();
		if (search !== shown) found = look(search);
	}
	const m = at.get("m") ?? /.+@.+/.exec(at.get("t"))?.[0];
	if (!m) return close();
	if (!moments.has(m)) await found; // the answer may have it
	const t = Number(at.get("t")) || null;
	if (playing?.ref === m) t && begin(t);
	else if (changed({}).toString() === at.toString()) open(m, t);
}

/** The form as the address has it. */
function fill(at) {
	const { text, terms } = split(at.get("q") ?? "");
	ui.query.value = text;
	ui.terms.replaceChildren(...terms.map(chip));
	const fields = ui.form.elements;
	for (const key of SINGLE) fields[key].value = at.get(key) ?? "";
	for (const box of fields.kind) box.checked = at.getAll("kind").includes(box.value);
	const set = [...SINGLE, "kind"].filter((key) => at.get(key)).length;
	ui.narrowed.textContent = set ? ` · ${set} set` : "";
}

/** The words of a query, and the examples that stand behind them. */
function split(query) {
	const terms = [];
	let text = query.trim();
	for (let found; (found = /(?:^|\s)((?:image|sound|clip):upload-[\w-]+|like:\w+(?:@[\d.]+-[\d.]+)?)$/.exec(text)); ) {
		terms.unshift(found[1]);
		text = text.slice(0, found.index).trim();
	}
	return { text, terms };
}

function chip(term) {
	const [, kind, value] = /^(\w+):(.+)$/.exec(term);
	const like = kind === "like" && parsed(value);
	const file = examples.get(term);
	const label = like ? `like ${titles.get(like.id) ?? like.id}${like.whole ? "" : ` ${range(like)}`}` : `${KINDS[kind] ?? kind} ${file?.name ?? ""}`;
	const remove = (event) => {
		event.target.closest(".term").remove();
		submit();
		ui.query.focus();
	};
	return make("span.term", { "data-term": term }, file?.url && make("img", { src: file.url, alt: "" }), make("span", label), press("round", remove, `Take out ${label}`, "×"));
}

function submit() {
	const terms = [...ui.terms.querySelectorAll("[data-term]")].map((one) => one.dataset.term);
	const fields = ui.form.elements;
	const change = Object.fromEntries(SINGLE.map((key) => [key, fields[key].value]));
	change.kind = [...fields.kind].filter((box) => box.checked).map((box) => box.value);
	shown = ""; // asked again on purpose
	return go({ ...change, q: [ui.query.value.trim(), ...terms].join(" ").trim(), m: "", t: "", view: "" });
}

// ---- search

function request(at, token, signal) {
	const of = (key) => at.get(key) ?? undefined;
	const duration = [of("longer") && `>${of("longer")}`, of("shorter") && `<${of("shorter")}`].filter(Boolean);
	const filters = { duration, tags: list(of("tag") ?? ""), kinds: at.getAll("kind"), collection: of("in"), path: of("path"), after: of("after"), before: of("before") };
	const wanted = { by: of("by") ?? "moment", copies: of("copies") ?? "collapse", min_confidence: of("sure") && Number(of("sure")), limit: 10 };
	return ask("/v1/search", sent({ query: of("q"), ...wanted, filters, page: token }, signal));
}

/** Ask, and show the answer; nothing is asked without a query. */
async function look(search) {
	flight?.abort();
	const own = (flight = new AbortController());
	const at = new URLSearchParams(search);
	shown = search;
	answer = null;
	ui.trouble.replaceChildren();
	ui.query.ariaInvalid = null;
	if (!at.get("q")) return;
	ui.count.textContent = "Searching…";
	ui.answer.ariaBusy = "true";
	try {
		answer = await request(at, undefined, own.signal);
		show(at);
	} catch (error) {
		if (error.name === "AbortError") return;
		for (const part of [ui.list, ui.empty, ui.after, ui.count, ui.understood]) part.replaceChildren();
		refuse(error, at.get("q"));
	}
	ui.answer.ariaBusy = null;
}

function refuse(error, query) {
	ui.trouble.replaceChildren(trouble(error, submit));
	if (!Number.isInteger(error.position)) return;
	const letters = Array.from(query);
	const from = within(error.position, 0, letters.length - 1);
	const [, bad, rest] = /^(\s*\S*)(.*)$/s.exec(letters.slice(from).join(""));
	ui.query.ariaInvalid = "true";
	ui.trouble.append(make("code", letters.slice(0, from).join(""), make("u", bad), rest));
}

function show(at) {
	const { moments: found, misses, understood, query, copies_hidden: hidden, next_page: next } = answer;
	const rate = Math.round(100 * answer.false_alarms);
	ui.count.textContent = found.length ? (next ? "The first " : "") + (answer.by === "video" ? count(found.length, "media", "media") : count(found.length, "moment")) : "Nothing found";
	ui.understood.replaceChildren(...(understood && understood !== query.trim() ? ["Understood as ", make("code", understood)] : []));
	ui.list.replaceChildren(...found.map(card));
	current();
	ui.empty.replaceChildren();
	if (!found.length) ui.empty.append(nothing(at.get("sure"), rate, misses));
	const below = [
		next && press("quiet", (event) => more(event.target, at), "More moments"),
		hidden > 0 && note(hidden > 1 ? `${hidden} more are copies` : "1 more is a copy", " of what is shown. ", press("quiet small", () => go({ copies: "show" }), "Show copies")),
		found.length > 0 && rate > 0 && note(`About ${rate} in 100 questions without an answer here would get one, too.`),
		...answer.notes.map((one) => note(one)),
	];
	ui.after.replaceChildren(...below.filter(Boolean));
}

/** Nothing here: said plainly, with how often an answer would be wrong, and the nearest misses one click away. */
function nothing(sure, rate, misses) {
	const enough = Number(sure) ? `${percent(sure)} sure` : sure ? "near enough" : "sure enough";
	const reveal = () => {
		button.remove();
		ui.list.replaceChildren(make("li.divide", "Near misses: not sure enough to be an answer"), ...misses.map(card));
		ui.count.textContent = `Nothing found; ${count(misses.length, "near miss", "near misses")} shown`;
		walk(1);
	};
	const button = misses.length > 0 && press("main", reveal, `Show the nearest ${misses.length > 1 ? `${misses.length} misses` : "miss"} (${percent(misses[0].confidence)} sure at best)`);
	return make("div.none", make("h2", "Nothing here"), make("p", `Nothing in the library is ${enough} to be what you asked for.`),
		make("p.soft", `At this level, about ${rate} in 100 questions without an answer here would get one all the same.`), button);
}

async function more(button, at) {
	const before = answer;
	button.disabled = true;
	try {
		const next = await request(at, before.next_page);
		if (answer !== before) return;
		answer = { ...next, moments: [...before.moments, ...next.moments] };
		show(at);
		ui.list.children[before.moments.length]?.querySelector(".open").focus();
	} catch (error) {
		button.disabled = false;
		button.after(trouble(error));
	}
}

// ---- cards

function card(moment) {
	const { media, ref, parts } = moment;
	moments.set(ref, moment);
	titles.set(media.id, title(media));
	const sure = make(`span.sure${moment.confidence < SURE ? " low" : ""}`, sureness(moment));
	const where = still(media) ? KINDS.image : range(moment);
	const acts = make("div.acts", strip(moment), press("quiet small", () => alike(ref), "More like this"), moment.copies.length > 0 && elsewhere(moment.copies));
	return make("li.moment", { "data-ref": ref }, picture(media, moment),
		make("div.facts", make("div.head", make("h3", opener(ref, title(media), where)), sure), make("p.path", make("b", where), media.path, gone(media)),
			make("ul.why", reasons(moment)), parts.length > 1 && note(`In steps: ${parts.map(range).join(", then ")}`), acts));
}

const gone = (media) => !here(media) && make("span.gone", "file is gone");
const alike = (ref) => go({ q: `like:${ref}`, m: "", t: "", view: "" });

/** The link that opens a moment; as a link it can be copied, and opened in another tab. */
function opener(ref, text, more) {
	const onclick = (event) => {
		if (event.ctrlKey || event.metaKey || event.shiftKey) return;
		event.preventDefault();
		if (playing?.ref === ref) begin(playing.moment.start_s);
		else reach(ref);
	};
	return make("a.open", { href: `#${changed({ m: ref, t: "" })}`, "aria-label": `${text}, ${more}`, onclick }, text);
}

function picture(media, moment) {
	const src = moment?.links?.thumbnail ?? place(media.id, `/thumbnail?t=${Math.min(1, media.duration_s / 2).toFixed(2)}`);
	const whole = share(moment ?? { start_s: 0, end_s: 0 }, media.duration_s);
	return make("div.picture", icon(media.kind), here(media) && media.kind !== "sound" && make("img", { src, alt: "", loading: "lazy", onerror: (event) => event.target.remove() }),
		!still(media) && [make("span.stamp", clock(media.duration_s)), moment && make("div.where", make("i", whole))]);
}

const share = (of, length) => ({ "--from": of.start_s / length, "--long": Math.min(1, (of.end_s - of.start_s) / length) });

/** Why: a line a modality, with the words and the labels that it rests on. */
function reasons({ media, evidence, parts, lines }) {
	const pieces = parts.length ? evidence : [...evidence].sort((one, other) => other.share - one.share);
	return pieces.map(({ modality, share: part, spans, words, labels, asked }) => {
		const rests = lines.filter((line) => line.modality === modality && spans.some((one) => one.start_s < line.end_s && line.start_s < one.end_s));
		const quotes = rests.slice(0, 2).map((line) => [make("q", marked(line)), " "]);
		const told = `${percent(part)} of the answer`;
		return make(`li.${modality}`, make("b", MODALITIES[modality]), make("div", make("span.bar", { role: "img", "aria-label": told, title: told }, make("i", { "--long": part })),
			quotes.length ? quotes : words.map((word) => [make("mark", word), " "]),
			labels.slice(0, 3).map((label) => make("span.label", label.name.split(",")[0], " ", make("small", label.probability.toFixed(2)))),
			!still(media) && spans.length > 0 && make("span.at", `at ${clock(spans[0].start_s)}`), asked && asked !== answer?.understood && make("span.at", ` for ${asked.replace(/^\w+:\((.+)\)$/, "$1")}`)));
	});
}

/** The frames that an answer rests on, each of which plays from there. */
function strip({ media, ref, evidence }) {
	if (media.kind !== "video" || !here(media)) return null;
	const spans = evidence.filter(({ modality }) => modality === "vision" || modality === "text").flatMap((piece) => piece.spans);
	const seconds = [...new Set(spans.map((one) => ((one.start_s + one.end_s) / 2).toFixed(2)))].slice(0, 4).sort((one, other) => one - other);
	return make("div.frames", seconds.map((t) => press("frame", () => reach(ref, t), `Play ${title(media)} from ${clock(t)}`,
		make("img", { src: place(media.id, `/thumbnail?t=${t}&w=160`), alt: "", loading: "lazy", onerror: (event) => event.target.parentNode.remove() }))));
}

/** Where the same footage is again; what it is called is asked when somebody looks. */
function elsewhere(copies) {
	const places = make("ul");
	const ontoggle = () => places.children.length || copies.forEach((ref) => {
		const at = parsed(ref);
		const button = press("plain", () => reach(ref), ref);
		places.append(make("li", button));
		described(at.id).then((media) => (button.textContent = `${title(media)} ${still(media) || at.whole ? "" : range(at)}`), () => {});
	});
	return make("details", { ontoggle }, make("summary", `Also in ${count(copies.length, "other place")}`), places);
}

async function described(id) {
	const media = await ask(place(id));
	titles.set(media.id, title(media));
	return media;
}

// ---- player

/** Show a moment, or a whole media, and play it from its beginning or from `second`. */
async function open(ref, second) {
	const own = ++ticket;
	let moment = moments.get(ref);
	let problem = "";
	if (!moment) {
		const at = parsed(ref);
		const media = await described(at.id).catch((error) => ((problem = error.message), { path: ref, there: false, duration_s: 0 }));
		if (own !== ticket) return;
		moment = { ref, media, ...at, end_s: at.whole ? media.duration_s : at.end_s, lines: [], evidence: [] };
		if (!problem) moments.set(ref, moment);
	}
	stop();
	const { media } = moment;
	playing = { ref, moment, element: null, base: 0, until: null };
	page.classList.add("playing");
	ui.stage.hidden = false;
	ui.over.hidden = true;
	mend(problem || (!here(media) ? `${media.path} is gone: it cannot be played.` : ""));
	ui.now.textContent = title(media);
	const where = still(media) ? KINDS.image : moment.whole ? clock(media.duration_s) : range(moment);
	ui.nowSpan.textContent = moment.confidence === undefined ? where : `${where} · ${sureness(moment)}`;
	ui.clip.hidden = ui.toggle.hidden = still(media) || !here(media);
	ui.clip.href = moment.links?.clip ?? place(media.id, `/clip?start=${moment.start_s}&end=${moment.end_s}`);
	ui.copy.textContent = "Copy link";
	ui.lines.replaceChildren(...moment.lines.map((line) => make(`li.${line.modality}`, make("b", MODALITIES[line.modality]), press("plain", () => begin(line.start_s), clock(line.start_s)), make("q", marked(line)))));
	current();
	ui.timeline.replaceChildren();
	ui.screen.replaceChildren();
	if (here(media)) {
		screen(second);
		if (!still(media)) timeline(own);
	}
	ui.told.textContent = `${title(media)}, ${where}`;
	if (matchMedia("(max-width: 63.99rem)").matches) ui.stage.scrollIntoView();
	else document.querySelector(".now")?.scrollIntoView({ block: "nearest" });
}

const mend = (text) => (ui.fault.textContent = text);

/** What plays it. */
function screen(second) {
	const { media, start_s } = playing.moment;
	const src = place(media.id, "/stream");
	if (still(media) || /\.gif$/i.test(media.path)) {
		ui.toggle.hidden = true;
		ui.screen.append(make("img", { src, alt: title(media), onerror: () => mend("This browser cannot show the file.") }));
		return;
	}
	const onplay = () => (paint(), requestAnimationFrame(frame));
	const element = make(media.kind === "sound" ? "audio" : "video", { controls: true, preload: "auto", playsinline: true, "aria-label": title(media), ontimeupdate: tick, onseeking: tick, onplay, onpause: paint, onended: () => over(true), onerror: cannot },
		media.kind === "video" && make("track", { kind: "captions", label: "Said", srclang: "en", src: place(media.id, "/transcript.vtt") }));
	playing.element = element;
	ui.screen.append(...(media.kind === "sound" ? [icon("sound")] : []), element);
	element.src = src;
	begin(second ?? start_s);
}

/** A file that this browser does not play: its moment is asked for as a clip, encoded anew. */
function cannot() {
	if (!playing?.element) return;
	if (!playing.remade) remake(playing.moment.start_s);
	else mend("This browser cannot play the file; its clip can be downloaded.");
}

function remake(second) {
	const { media } = playing.moment;
	playing.remade = Math.min(media.duration_s, second + CLIP);
	playing.base = second;
	playing.element.src = place(media.id, `/clip?start=${second}&end=${playing.remade}&exact=1`);
	begin(second);
}

const now = () => playing.base + playing.element.currentTime;

/** Play from a second on; from within the moment until its end. */
function begin(second) {
	if (!playing?.element) return;
	const { element, moment, base, remade } = playing;
	ui.over.hidden = true;
	playing.until = !moment.whole && second >= moment.start_s - 0.01 && second < moment.end_s ? moment.end_s : null;
	if (remade && (second < base || second > remade)) return remake(second);
	const jump = () => {
		element.currentTime = second - playing.base;
		element.play().catch(paint); // not on a page that nobody has touched
	};
	if (element.readyState) jump();
	else element.addEventListener("loadedmetadata", jump, { once: true });
}

function frame() {
	tick();
	if (playing?.element && !playing.element.paused) requestAnimationFrame(frame);
}

/** Move the playhead, and stop where the moment ends. */
function tick() {
	if (!playing?.element) return;
	const { element, moment, until, base } = playing;
	const t = now();
	const lanes = ui.timeline.firstElementChild;
	if (lanes) {
		lanes.lastElementChild.style.setProperty("--from", within(t / moment.media.duration_s, 0, 1));
		lanes.ariaValueNow = t.toFixed(1);
		lanes.ariaValueText = `${clock(t)} of ${clock(moment.media.duration_s)}`;
	}
	if (until === null || element.seeking || element.paused) return;
	if (t < moment.start_s - 1 || t > until + 1) playing.until = null; // somebody went elsewhere on purpose
	else if (t >= until) {
		element.pause();
		element.currentTime = Math.max(moment.start_s, until - SLACK) - base;
		over(false);
	}
}

function over(ended) {
	ui.over.hidden = playing.moment.whole;
	ui.on.hidden = ended;
	playing.until = null;
}

function toggle() {
	const { element, moment } = playing;
	if (!ui.over.hidden) begin(moment.start_s);
	else if (element.paused) element.play().catch(paint);
	else element.pause();
}

const paint = () => (ui.toggle.textContent = playing?.element?.paused === false ? "Pause" : "Play");

function stop() {
	const element = playing?.element;
	playing = null;
	if (!element) return;
	element.pause();
	element.removeAttribute("src");
	element.load(); // and no more bytes come
}

function close() {
	ticket += 1;
	const held = ui.stage.contains(document.activeElement);
	stop();
	ui.stage.hidden = true;
	ui.screen.replaceChildren();
	page.classList.remove("playing");
	if (held) document.querySelector(".now .open")?.focus();
	current();
}

/** Say which card is of what plays. */
function current() {
	for (const one of document.querySelectorAll(".moment")) {
		const on = one.dataset.ref === playing?.ref;
		one.classList.toggle("now", on);
		one.querySelector(".open").ariaCurrent = on || null;
	}
}

/** The link of a moment; of a whole media, of the second that is on show. */
async function copyLink() {
	const t = playing.moment.whole && playing.element ? now().toFixed(1) : "";
	const link = `${location.href.split("#")[0]}#${changed({ t })}`;
	const done = await navigator.clipboard?.writeText(link).then(() => true, () => false); // there is none without https
	ui.told.textContent = ui.copy.textContent = done ? "Link copied" : "The address above is the link";
}

// ---- timeline

/** How relevant each second is, a lane a modality, as api/strip.py draws it; all of it is one slider. */
async function timeline(own) {
	const { moment } = playing;
	const length = moment.media.duration_s;
	const query = page.dataset.view === "answer" && address().get("q");
	const none = { curves: {}, chance: 0 };
	const { curves, chance } = query ? await ask(place(moment.media.id, `/timeline?query=${encodeURIComponent(query)}`)).catch(() => none) : none;
	if (own !== ticket) return;
	const lanes = Object.keys(MODALITIES).filter((key) => curves[key]?.heights.length);
	const top = lanes.flatMap((key) => curves[key].heights).reduce((one, other) => Math.max(one, other ?? one), chance + 1);
	const others = (answer?.moments ?? []).filter((one) => one.media.id === moment.media.id && one.ref !== moment.ref);
	const slider = { role: "slider", tabindex: 0, "aria-label": "Time", "aria-valuemin": 0, "aria-valuemax": length, onclick: pointed, onkeydown: stepped };
	ui.timeline.replaceChildren(
		make("div.lanes", slider, lanes.length ? lanes.map((key) => lane(key, curves[key], chance, top, length)) : lane(), others.map((one) => make("i.other", share(one, length))),
			!moment.whole && make("i.here", share(moment, length)), make("i.head-of-play", { "--from": 0 })),
		make("div.axis", make("span", clock(0)), lanes.length > 0 && make("i", "relevance over time, ", make("s"), " chance"), make("span", clock(length))));
	tick();
}

function lane(key, curve, chance, top, length) {
	const cells = Math.ceil(within(length / 0.1, 1, CELLS)) || 1;
	const levels = new Array(cells).fill(0);
	const up = (height) => 24 * within((height - chance + BELOW) / (top - chance + BELOW), 0, 1);
	curve?.heights.forEach((height, place) => {
		const [from, to] = [curve.edges[place], curve.edges[place + 1]].map((edge) => (cells * edge) / length);
		for (let cell = within(Math.floor(from), 0, cells - 1); cell < Math.min(cells, to); cell++) levels[cell] = Math.max(levels[cell], up(height ?? -Infinity));
	});
	const steps = levels.map((level, cell) => `H${cell}V${(24 - level).toFixed(1)}`).join("");
	const lines = curve ? [draw("path", { class: "hill", d: `M0 24${steps}H${cells}V24Z` }), draw("path", { class: "chance", d: `M0 ${24 - up(chance)}H${cells}` })] : [];
	return make(`div.lane ${key ?? ""}`, make("b", MODALITIES[key] ?? "time"), draw("svg", { viewBox: `0 0 ${cells} 24`, preserveAspectRatio: "none" }, ...lines));
}

function pointed(event) {
	const box = event.currentTarget.querySelector("svg").getBoundingClientRect();
	if (event.clientX >= box.left) begin(((event.clientX - box.left) / box.width) * playing.moment.media.duration_s);
}

function stepped(event) {
	const { element, base, moment } = playing;
	if (!element) return;
	const end = moment.media.duration_s;
	const to = { ArrowLeft: now() - 1, ArrowRight: now() + 1, Home: 0, End: end }[event.key];
	if (to === undefined) return;
	event.preventDefault();
	ui.over.hidden = true;
	element.currentTime = within(to, 0, end) - base;
}

// ---- files

const kindOf = ({ type }) => ({ image: "image", audio: "sound" })[type.split("/")[0]] ?? "clip"; // the server knows better

/** Search by a file: the server keeps what it shows for an hour, under a term that stands in the query. */
async function byExample(file) {
	const kind = kindOf(file);
	const waiting = make("span.term", make("span", `${file.name}…`));
	ui.terms.append(waiting);
	const body = new FormData();
	body.append(kind, file);
	try {
		const { term } = await ask("/v1/examples", { method: "POST", body });
		examples.set(term, { name: file.name, url: kind === "image" && URL.createObjectURL(file) });
		waiting.replaceWith(chip(term));
		submit();
	} catch (error) {
		waiting.remove();
		ui.trouble.replaceChildren(trouble(error, () => byExample(file)));
	}
}

/** Send a file, and follow the job that indexes it. */
function add(file) {
	const row = jobRow(file.name);
	const body = new FormData();
	body.append("file", file);
	for (const tag of list(ui.tags.value)) body.append("tags", tag);
	const sending = new XMLHttpRequest();
	const failed = () => row.fail(new Refused(sending.status, sending.response), () => (row.item.remove(), add(file)));
	sending.open("POST", "/v1/media");
	sending.responseType = "json";
	sending.upload.onprogress = ({ loaded, total }) => row.say(`sending, ${percent(loaded / total)}`, loaded / total);
	sending.onerror = failed;
	sending.onload = () => (sending.status < 300 ? follow(sending.response.job.id, row) : failed());
	sending.send(body);
}

function jobRow(name) {
	const state = make("span", "waiting");
	const bar = make("progress", { "aria-label": `Progress of ${name}` });
	const item = make("li", make("div.head", make("b", name), state), bar);
	ui.jobs.prepend(item);
	const say = (text, done) => {
		state.textContent = text;
		if (done === undefined) bar.removeAttribute("value");
		else bar.value = done;
	};
	const end = (what) => (bar.remove(), state.replaceChildren(what));
	return { name, item, say, end, fail: (error, again) => end(trouble(error, again)) };
}

function follow(id, row) {
	row.say("waiting for an indexer");
	const events = new EventSource(`/v1/jobs/${encodeURIComponent(id)}/events`);
	let lost = 0;
	events.addEventListener("job", async (event) => {
		lost = 0;
		const { state, counts, error, request: wanted } = JSON.parse(event.data);
		if (state === "running") row.say(counts.media_s ? `indexing, ${clock(counts.media_s)} done` : "indexing");
		if (state === "running" || state === "queued") return;
		events.close();
		if (counts.quarantined) row.fail(new Refused(0, `set aside: ${await why(wanted.paths)}`));
		else if (state !== "done") row.fail(new Refused(0, `${state} ${error}`));
		else row.end(counts.indexed ? "indexed: it can be searched" : "is in the library already");
		refresh();
	});
	events.onerror = () => {
		if (events.readyState !== EventSource.CLOSED && ++lost < 4) return; // it tries again by itself
		events.close();
		row.fail(new Refused(0), () => (row.item.remove(), follow(id, jobRow(row.name))));
	};
}

/** Why these files are not in the library. */
async function why(paths) {
	const { quarantined } = await ask("/v1/quarantine").catch(() => ({ quarantined: [] }));
	return quarantined.find((one) => paths.includes(one.path))?.reason ?? "the list below says why";
}

// ---- library

const bytes = (size) => (size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : size < 1e9 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(1)} GB`);
const day = (seconds) => new Date(1000 * seconds).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
const holds = (stats) => `${count(stats.media, "media", "media")} · ${clock(stats.duration_s).slice(0, -2)} · ${count(stats.segments, "segment")} · ${bytes(stats.bytes)}`;

async function showLibrary() {
	refresh();
	const { jobs } = await ask("/v1/jobs").catch(() => ({ jobs: [] }));
	if (ui.jobs.children.length) return; // they are our own
	for (const { id, state } of jobs) if (state === "queued" || state === "running") follow(id, jobRow(`Job ${id}`));
}

async function refresh() {
	listMedia();
	try {
		const [stats, { quarantined }] = await Promise.all([ask("/v1/library"), ask("/v1/quarantine")]);
		ui.counts.textContent = holds(stats);
		ui.aside.replaceChildren(...quarantined.map((one) =>
			make("li", make("b", one.path), make("p", one.reason), make("p", `since ${day(one.since)}; tried again ${one.again_at ? `from ${day(one.again_at)}` : "when it has changed"}`))));
		ui.asides.textContent = `Set aside (${quarantined.length})`;
		ui.asides.hidden = !quarantined.length;
	} catch (error) {
		ui.counts.replaceChildren(trouble(error, refresh));
	}
}

let listing; // the last list asked for

async function listMedia(token = "") {
	const own = (listing = {});
	const path = ui.named.value.trim();
	const where = { limit: 60, page: token, path };
	try {
		const found = await ask(`/v1/media?${new URLSearchParams(Object.entries(where).filter(([, value]) => value))}`);
		if (own !== listing) return;
		if (!token) ui.media.replaceChildren();
		ui.media.append(...found.media.map(mediaCard));
		const empty = path ? "No media is called so." : "The library is empty: drop a file here to begin.";
		const next = found.next_page && press("quiet", () => listMedia(found.next_page), `More (${ui.media.children.length} of ${found.total} shown)`);
		ui.further.replaceChildren(next || (found.total ? "" : empty));
	} catch (error) {
		ui.further.replaceChildren(trouble(error, () => listMedia(token)));
	}
}

function mediaCard(media) {
	titles.set(media.id, title(media));
	const facts = [KINDS[media.kind], media.width && `${media.width} × ${media.height}`, bytes(media.bytes), media.metadata.collection];
	return make("li.moment", { "data-ref": media.id, title: media.path }, picture(media),
		make("div.facts", make("h3", opener(media.id, title(media), KINDS[media.kind])), make("p.path", facts.filter(Boolean).join(" · "), gone(media)),
			media.metadata.tags.map((tag) => make("span.label", tag)), Object.entries(media.missing).map(([modality, reason]) => make("p.path", `not ${MODALITIES[modality]}: ${reason}`))));
}

// ---- hands

/** Focus the next result, or the one before; above the first is the search box. */
function walk(step) {
	const stops = [...document.querySelectorAll("#left .open")].filter((one) => one.offsetParent);
	const at = stops.indexOf(document.activeElement.closest(".moment")?.querySelector(".open"));
	if (at + step < 0) return ui.query.focus();
	stops[Math.min(at + step, stops.length - 1)]?.focus();
	document.activeElement.closest(".moment")?.scrollIntoView({ block: "nearest" });
}

/** What a key does; nothing where the element that has the focus wants it for itself. */
function pressed({ key, target }) {
	const typing = target.matches("input:not([type=checkbox]), select");
	if (key === "Escape") return ui.stage.hidden ? (typing ? () => target.blur() : null) : () => reach("");
	if ((key === "ArrowDown" || key === "ArrowUp") && (!typing || target === ui.query) && !target.matches("video, audio")) return () => walk(key === "ArrowDown" ? 1 : -1);
	if (typing) return null;
	if (key === "?") return () => ui.guide.showModal();
	if (key === "/") return () => (inLibrary() && go({ view: "", m: "", t: "" }), ui.query.focus(), ui.query.select());
	if (key !== " " || target.matches("button, summary, input, video, audio")) return null;
	return playing?.element ? toggle : target.matches(".open") ? () => target.click() : null;
}

document.addEventListener("keydown", (event) => {
	if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
	const act = pressed(event);
	if (!act) return;
	event.preventDefault();
	act();
});

/** Files that were chosen, dropped or pasted. */
function take(event, files) {
	if (!files?.length) return;
	event.preventDefault();
	if (inLibrary()) [...files].forEach(add);
	else byExample(files[0]);
}

let leaving;
document.addEventListener("dragover", (event) => {
	if (!event.dataTransfer.types.includes("Files")) return;
	event.preventDefault();
	ui.drop.firstElementChild.textContent = inLibrary() ? "Drop to add to the library" : "Drop to search by it";
	ui.drop.hidden = false;
	clearTimeout(leaving);
	leaving = setTimeout(() => (ui.drop.hidden = true), 400); // as long as something hangs over the page this comes again
});
document.addEventListener("drop", (event) => ((ui.drop.hidden = true), take(event, event.dataTransfer.files)));
document.addEventListener("paste", (event) => take(event, event.clipboardData.files));

for (const [button, input] of [[ui.attach, ui.example], [ui.add, ui.files]]) {
	button.onclick = () => input.click();
	input.onchange = (event) => (take(event, input.files), (input.value = ""));
}
const says = () => ui.query.value.trim() || ui.terms.children.length;
ui.form.onsubmit = (event) => (event.preventDefault(), says() ? submit() : ui.query.focus());
ui.narrow.onchange = () => says() && submit();
ui.reset.onclick = () => go(Object.fromEntries([...SINGLE, "kind"].map((key) => [key, ""])));
ui.find.oninput = () => listMedia();
ui.find.onsubmit = (event) => event.preventDefault();
ui.close.onclick = () => reach("");
ui.toggle.onclick = toggle;
ui.again.onclick = () => begin(playing.moment.start_s);
ui.on.onclick = () => ((ui.over.hidden = true), playing.element.play());
ui.copy.onclick = copyLink;
ui.like.onclick = () => alike(playing.ref);
ui.help.onclick = () => ui.guide.showModal();
ui.done.onclick = () => ui.guide.close();
ui.keys.onsubmit = (event) => {
	event.preventDefault();
	ask("/v1/session", sent({ key: ui.key.value.trim() })).then(() => location.reload(), (error) => (ui.wrong.textContent = error.message));
};
window.onpopstate = route; // also comes of a new address behind "#"

route();
if (page.dataset.view === "home") ui.query.focus();
ask("/v1/library").then((stats) => (ui.holds.textContent = `In this library: ${holds(stats)}`), (error) => ui.holds.replaceChildren(trouble(error)));
