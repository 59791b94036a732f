// The public API over fetch: problems as errors, an API key where one is asked for, event streams that survive reconnects.

const KEY = "ays-key";
const FIRST_RETRY = 500;
const LAST_RETRY = 5000;

/** An answer that is a problem (RFC 9457), or no answer at all (status 0). */
export class Problem extends Error {
  constructor(status, { title = "", detail = "", fix = "" } = {}) {
    super(detail || title);
    Object.assign(this, { status, title, detail, fix });
  }
}

export class Api {
  /**
   * @param {(scheme: string) => Promise<string>} askKey  Asks the person for an API key.
   * @param {(answers: boolean) => void} onReachable  Told after every request whether the service answers.
   */
  constructor(askKey, onReachable) {
    this.askKey = askKey;
    this.onReachable = onReachable;
    this.asking = null;
  }

  get = (path, options) => this.#json(path, options);
  post = (path, body = null) =>
    this.#json(path, { method: "POST", headers: body ? { "content-type": "application/json" } : {}, body: body && JSON.stringify(body) });

  async text(path, options) {
    return (await this.#fetch(path, options)).text();
  }

  async #json(path, options) {
    return (await this.#fetch(path, options)).json();
  }

  async #fetch(path, options = {}) {
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...options.headers, ...stored() } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.onReachable(false);
      throw new Problem(0, { detail: "the service does not answer" });
    }
    this.onReachable(true);
    if (response.status === 401) {
      await this.#key();
      return this.#fetch(path, options);
    }
    if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({ title: response.statusText })));
    return response;
  }

  /** Asks for a key once, however many requests wait for it. */
  async #key() {
    this.asking ??= this.askKey().then((key) => {
      sessionStorage.setItem(KEY, JSON.stringify({ authorization: `Bearer ${key.trim()}` }));
      this.asking = null;
    });
    await this.asking;
  }

  /**
   * Follows a job's events to the final one, across disconnections and restarts of the service.
   *
   * @param {string} job  Its id.
   * @param {(event: object) => void} onEvent  Gets every event once.
   * @param {AbortSignal} signal  Ends it.
   */
  async follow(job, onEvent, signal) {
    let [last, retry] = [null, FIRST_RETRY];
    while (!signal.aborted) {
      try {
        const headers = { accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) };
        const response = await this.#fetch(`/v1/jobs/${job}/events`, { headers, signal });
        for await (const { id, event } of events(response.body)) {
          [last, retry] = [id ?? last, FIRST_RETRY];
          onEvent(event);
          if (["succeeded", "failed", "canceled"].includes(event.state)) return;
        }
      } catch (error) {
        if (signal.aborted || error.status === 404) return;
      }
      await new Promise((resolve) => setTimeout(resolve, retry));
      retry = Math.min(2 * retry, LAST_RETRY);
    }
  }
}

const stored = () => JSON.parse(sessionStorage.getItem(KEY) ?? "{}");

/** Parses a stream of server-sent events. */
async function* events(body) {
  let buffer = "";
  for await (const text of lines(body.pipeThrough(new TextDecoderStream()))) {
    buffer += text;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
      if (fields.data) yield { id: fields.id, event: JSON.parse(fields.data) };
    }
  }
}

/** A stream as an asynchronous iteration; not every browser has that built in. */
async function* lines(stream) {
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } finally {
    reader.releaseLock();
  }
}
