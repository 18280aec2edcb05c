// What treering.ts does by itself, on Node's test runner and on Deno's.
import { strict as assert } from "node:assert";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";

import {
  configure,
  flush,
  middleware,
  onFinish,
  recordUsage,
  type UsageEvent,
} from "../../../supabase/functions/_shared/treering.ts";

type Row = Record<string, any>;
type Answer = (response: ServerResponse, events: Row[]) => void;

interface Received {
  url: string;
  headers: IncomingMessage["headers"];
  events: Row[];
}

const stored: Answer = (response, events) => void response.end(String(events.length));
const refuse =
  (status: number, body = "{}"): Answer =>
  (response) => {
    response.statusCode = status;
    response.end(body);
  };
const hangUp: Answer = (response) => void response.destroy();

let server: Server;
let received: Received[] = [];
let script: Answer[] = [];
let problems: [string, readonly object[]][] = [];

before(async () => {
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (piece: Buffer) => (body += piece));
    request.on("end", () => {
      const { events } = JSON.parse(body) as { events: Row[] };
      received.push({ url: request.url!, headers: request.headers, events });
      (script.shift() ?? stored)(response, events);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

after(async () => {
  server.closeAllConnections?.();
  await new Promise((resolve) => server.close(resolve));
});

beforeEach(async () => {
  received = [];
  script = [];
  problems = [];
  configure({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    key: "writer",
    apikey: "publishable",
    environment: "test",
    timeoutMs: 5000,
    idleMs: 300_000,
    onError: (problem, events) => void problems.push([problem, events]),
  });
});

const sent = () => received.flatMap(({ events }) => events);
const call = (fields: Partial<UsageEvent> = {}) =>
  recordUsage({ user_id: "user_a", model: "gpt-4o", ...fields } as UsageEvent);

test("on Supabase the runtime is asked to wait", async () => {
  const works: Promise<unknown>[] = [];
  Object.assign(globalThis, { EdgeRuntime: { waitUntil: (work: Promise<unknown>) => void works.push(work) } });
  call();
  assert.equal(works.length, 1);
  await Promise.all(works);
  assert.equal(sent().length, 1);
  // On Vercel the name is taken by a text.
  Object.assign(globalThis, { EdgeRuntime: "edge-runtime" });
  call();
  assert.equal(await flush(), true);
});

test("a call goes to the function in its schema with both keys", async () => {
  call({ prompt_tokens: 150, completion_tokens: 50 });
  assert.equal(await flush(), true);
  const [request] = received;
  assert.equal(request!.url, "/rest/v1/rpc/record_usage");
  assert.equal(request!.headers["content-profile"], "observability");
  assert.equal(request!.headers.apikey, "publishable");
  assert.equal(request!.headers.authorization, "Bearer writer");
  const [event] = request!.events;
  assert.deepEqual(
    { ...event, event_id: null, created_at: null },
    {
      event_id: null,
      created_at: null,
      user_id: "user_a",
      model: "gpt-4o",
      environment: "test",
      prompt_tokens: 150,
      completion_tokens: 50,
    },
  );
});

test("no cost is sent, so that the worker adds it", async () => {
  call();
  await flush();
  assert.deepEqual(
    Object.keys(sent()[0]!).filter((name) => /cost|price/.test(name)),
    [],
  );
});

test("ids are UUIDs of version 7, of the present, and differ", async () => {
  const before = Date.now();
  const ids = Array.from({ length: 300 }, () => call());
  const now = Date.now();
  assert.equal(new Set(ids).size, 300);
  for (const id of ids) {
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const made = parseInt(id.replaceAll("-", "").slice(0, 12), 16);
    assert.ok(before <= made && made <= now);
  }
  await flush();
});

test("the calls of a request go in one batch, many calls in batches of 200", async () => {
  call();
  call();
  await flush();
  assert.deepEqual(
    received.map(({ events }) => events.length),
    [2],
  );
  received = [];
  for (let number = 0; number < 450; number++) call();
  await flush();
  assert.equal(sent().length, 450);
  assert.equal(new Set(sent().map((event) => event.event_id)).size, 450);
});

for (const [name, answer] of Object.entries<Answer>({
  "a server error": refuse(503, "<html>"),
  "too many requests": refuse(429),
  "a lost connection": hangUp,
  "a page in place of a number": refuse(200, "<html>Sign in</html>"),
})) {
  test(`after ${name} the same events are sent again`, async () => {
    script = [answer, answer];
    const id = call();
    assert.equal(await flush(), true);
    assert.deepEqual(
      received.map(({ events }) => events.map((event) => event.event_id)),
      [[id], [id], [id]],
    );
    assert.deepEqual(received[0]!.events, received[2]!.events);
    assert.deepEqual(problems, []);
  });
}

test("an attempt without an answer ends after the timeout", async () => {
  configure({ timeoutMs: 20 });
  script = [() => undefined];
  call();
  assert.equal(await flush(), true);
  assert.equal(received.length, 2);
});

test("a refusal is not repeated, and the events go to onError with the reason", async () => {
  script = [refuse(403, '{"code":"42501","message":"permission denied for function record_usage"}')];
  const id = call();
  assert.equal(await flush(), false);
  assert.equal(received.length, 1);
  const [[problem, events]] = problems as [[string, Row[]]];
  assert.equal(problem, "treering lost 1 calls: 403 permission denied for function record_usage");
  assert.deepEqual(
    events.map((event) => event.event_id),
    [id],
  );
});

test("after four attempts the events go to onError", async () => {
  script = Array<Answer>(4).fill(refuse(500, '{"message":"down"}'));
  call();
  assert.equal(await flush(), false);
  assert.equal(received.length, 4);
  assert.equal(problems[0]![0], "treering lost 1 calls: 500 down");
  call();
  assert.equal(await flush(), true); // what was lost then is not lost again
});

test("without a key nothing is sent and the reason is told", async () => {
  configure({ key: "" });
  call();
  assert.equal(await flush(), false);
  assert.equal(problems[0]![0], "treering lost 1 calls: no SUPABASE_URL, TREERING_KEY");
});

test("waitUntil gets the work, and its faults and those of onError stay inside", async () => {
  const works: Promise<unknown>[] = [];
  configure({ waitUntil: (work) => void works.push(work) });
  const id = call();
  assert.equal(works.length, 1);
  await Promise.all(works);
  assert.deepEqual(
    sent().map((event) => event.event_id),
    [id],
  );
  const fault = () => {
    throw new Error("outside of a request");
  };
  configure({ waitUntil: fault, onError: fault });
  script = [refuse(400)];
  call();
  assert.equal(await flush(), false);
});

test("what the database would refuse is put right", async () => {
  call({
    session_id: "s".repeat(300),
    feature: "a\u0000b\ud800c \\u0000 😀",
    metadata: { note: "x".repeat(5000) },
    latency_ms: undefined,
  });
  recordUsage({ model: "gpt-4o" });
  await flush();
  const [event, bare] = sent();
  assert.equal(event!.session_id, "s".repeat(200));
  assert.equal(event!.feature, "a?b?c \\u0000 😀");
  assert.deepEqual(event!.metadata, { treering_flags: ["metadata:shortened"] });
  assert.equal("latency_ms" in event!, false);
  assert.equal(bare!.user_id, "anonymous");
});

test("an id of the caller's own keeps its time", async () => {
  const id = "0199d0a0-0000-4000-8000-000000000001";
  assert.equal(call({ event_id: id, created_at: "2026-05-04T12:00:00Z" }), id);
  await flush();
  assert.deepEqual([sent()[0]!.event_id, sent()[0]!.created_at], [id, "2026-05-04T12:00:00Z"]);
});

test("what cannot be recorded never reaches the caller", async () => {
  const circle: Row = {};
  circle.circle = circle;
  recordUsage({ model: "gpt-4o", metadata: circle } as UsageEvent);
  assert.doesNotThrow(() => onFinish()({ steps: [null] }));
  await flush();
});

const usage = {
  inputTokens: { total: 30, noCache: 20, cacheRead: 10, cacheWrite: 4 },
  outputTokens: { total: 12, text: 6, reasoning: 6 },
};
const model = (provider: string, modelId = "some-model") => ({ provider, modelId });
const result = (fields: Row = {}) => ({
  content: [{ type: "text", text: "Water." }],
  finishReason: { unified: "stop", raw: "stop" },
  usage,
  ...fields,
});

for (const [provider, expected] of [
  ["openai.chat", ["openai", "chat"]],
  ["openai.responses", ["openai", "responses"]],
  ["azure.responses", ["azure", "responses"]],
  ["anthropic.messages", ["anthropic", "chat"]],
  ["google.generative-ai", ["google", "chat"]],
  ["amazon-bedrock", ["aws", "chat"]],
  ["bedrock.anthropic.messages", ["aws", "chat"]],
  ["xai.chat", ["x-ai", "chat"]],
  ["togetherai.chat", ["together", "chat"]],
  ["groq.chat", ["groq", "chat"]],
] as const) {
  test(`${provider} is recorded as ${expected.join(", ")}`, async () => {
    const wrapped = middleware();
    await wrapped.wrapGenerate({ doGenerate: async () => result(), params: {}, model: model(provider) });
    await flush();
    assert.deepEqual([sent()[0]!.provider, sent()[0]!.operation], expected);
  });
}

test("through Vercel's gateway the maker is the provider", async () => {
  const params = {
    doGenerate: async () => result(),
    params: {},
    model: model("gateway", "anthropic/claude-sonnet-4.5"),
  };
  await middleware().wrapGenerate(params);
  await flush();
  assert.equal(sent()[0]!.provider, "anthropic");
});

test("cache writes of an hour are told apart", async () => {
  const body = { usage: { cache_creation: { ephemeral_1h_input_tokens: 3, ephemeral_5m_input_tokens: 1 } } };
  const doGenerate = async () => result({ response: { body } });
  await middleware().wrapGenerate({ doGenerate, params: {}, model: model("anthropic.messages") });
  await flush();
  const { prompt_tokens, cached_tokens, cache_write_tokens, usage_details } = sent()[0]!;
  assert.deepEqual([prompt_tokens, cached_tokens, cache_write_tokens], [30, 10, 4]);
  assert.deepEqual(usage_details, { cache_write_1h_tokens: 3 });
});

test("what a call says of itself counts over what the model's wrapper says, and both over what was measured", async () => {
  const params = { providerOptions: { treering: { user_id: "user_b", feature: "summary" } } };
  const wrapped = middleware({ user_id: "user_a", session_id: "s", service_tier: "batch" });
  await wrapped.wrapGenerate({ doGenerate: async () => result(), params, model: model("openai.chat") });
  await flush();
  const { user_id, session_id, feature, service_tier } = sent()[0]!;
  assert.deepEqual([user_id, session_id, feature, service_tier], ["user_b", "s", "summary", "batch"]);
});

test("usage that was not reported is estimated and says so", async () => {
  const params = {
    prompt: [
      { role: "system", content: "x".repeat(40) },
      {
        role: "user",
        content: [
          { type: "text", text: "y".repeat(20) },
          { type: "file", data: "z".repeat(4000) },
        ],
      },
    ],
  };
  const none = { inputTokens: { total: undefined }, outputTokens: { total: undefined } };
  const doGenerate = async () => result({ usage: none, content: [{ type: "text", text: "w".repeat(8) }] });
  await middleware().wrapGenerate({ doGenerate, params, model: model("openai.chat") });
  await flush();
  const { prompt_tokens, completion_tokens, usage_source } = sent()[0]!;
  assert.deepEqual([prompt_tokens, completion_tokens, usage_source], [15, 2, "heuristic"]);
});

function streamOf(parts: Row[], ending: "close" | "stay" | Error = "close"): ReadableStream<Row> {
  const waiting = [...parts];
  return new ReadableStream({
    pull(controller) {
      const part = waiting.shift();
      if (part) controller.enqueue(part);
      else if (ending === "close") controller.close();
      else if (ending !== "stay") controller.error(ending);
    },
  });
}

const wrapStream = (stream: ReadableStream<Row>, params: Row = {}) =>
  middleware().wrapStream({ doStream: async () => ({ stream }), params, model: model("openai.chat") });

const words = [
  { type: "response-metadata", id: "chatcmpl-1", modelId: "gpt-4o-2024-08-06" },
  { type: "raw", rawValue: { service_tier: "flex" } },
  { type: "text-delta", id: "1", delta: "Water" },
];
const last = { type: "finish", usage, finishReason: { unified: "stop", raw: "stop" } };

async function read(stream: ReadableStream<Row>): Promise<Row[]> {
  const parts: Row[] = [];
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return parts;
    parts.push(value);
  }
}

test("a stream is handed on as it is, without the raw chunks that the caller did not ask for", async () => {
  const { stream } = await wrapStream(streamOf([...words, last]));
  assert.deepEqual(await read(stream), [words[0], words[2], last]);
  const asked = await middleware().transformParams({ type: "stream", params: { includeRawChunks: true } });
  const whole = await wrapStream(streamOf([...words, last]), asked);
  assert.deepEqual(await read(whole.stream), [...words, last]);
  await flush();
  const [row] = sent();
  assert.deepEqual(
    [row!.model, row!.response_id, row!.service_tier, row!.status, row!.streamed, row!.prompt_tokens],
    ["gpt-4o-2024-08-06", "chatcmpl-1", "flex", "ok", true, 30],
  );
  assert.ok(row!.latency_ms >= row!.time_to_first_token_ms);
});

test("a stream that breaks is an error, one that the caller cancels is cancelled, each once", async () => {
  const broken = await wrapStream(streamOf(words, new TypeError("terminated")));
  await assert.rejects(read(broken.stream), TypeError);
  const left = await wrapStream(streamOf(words, "stay"));
  const reader = (left.stream as ReadableStream<Row>).getReader();
  await reader.read();
  await reader.cancel();
  await reader.cancel();
  await flush();
  assert.deepEqual(
    sent().map(({ status, error_type, usage_source }) => [status, error_type, usage_source]),
    [
      ["error", "TypeError", "heuristic"],
      ["cancelled", undefined, "heuristic"],
    ],
  );
});

test("a stream without its end is an error", async () => {
  const none = { inputTokens: { total: undefined }, outputTokens: { total: undefined } };
  const cut = { type: "finish", usage: none, finishReason: { unified: "interrupted", raw: undefined } };
  await read((await wrapStream(streamOf([...words, cut]))).stream);
  await flush();
  const [{ status, error_type, finish_reason }] = sent() as [Row];
  assert.deepEqual([status, error_type, finish_reason], ["error", "stream_ended_early", undefined]);
});

test("a stream that nobody reads any more is cancelled in the end", async () => {
  const sentOnce = new Promise<void>((resolve) => {
    configure({
      idleMs: 5,
      waitUntil: (work) => void work.then(() => resolve()),
    });
  });
  await wrapStream(streamOf(words, "stay"));
  await sentOnce;
  assert.deepEqual(
    sent().map(({ status }) => status),
    ["cancelled"],
  );
});

test("an aborted call is cancelled, and the caller's error is its own", async () => {
  const leaving = new AbortController();
  leaving.abort(new Error("the tab was closed"));
  const doGenerate = () => Promise.reject(leaving.signal.reason as Error);
  const params = { abortSignal: leaving.signal, prompt: [] };
  const asked = middleware().wrapGenerate({ doGenerate, params, model: model("openai.chat") });
  await assert.rejects(asked, /the tab was closed/);
  await flush();
  assert.deepEqual([sent()[0]!.status, sent()[0]!.error_type], ["cancelled", undefined]);
});

test("a finished answer of two steps is two calls", async () => {
  const step = (id: string, finishReason: string) => ({
    model: model("openai.responses", "gpt-4o"),
    response: { id, modelId: "gpt-4o-2024-08-06", timestamp: new Date("2026-05-04T12:00:00Z") },
    finishReason,
    usage: {
      inputTokens: 30,
      inputTokenDetails: { cacheReadTokens: 10, cacheWriteTokens: 4 },
      outputTokens: 12,
      outputTokenDetails: { reasoningTokens: 6 },
    },
  });
  onFinish({ user_id: "user_a" })({ steps: [step("resp_1", "tool-calls"), step("resp_2", "stop")] });
  await flush();
  assert.deepEqual(
    sent().map((row) => [
      row.response_id,
      row.finish_reason,
      row.prompt_tokens,
      row.cached_tokens,
      row.reasoning_tokens,
    ]),
    [
      ["resp_1", "tool_calls", 30, 10, 6],
      ["resp_2", "stop", 30, 10, 6],
    ],
  );
  assert.equal(sent()[0]!.created_at, "2026-05-04T12:00:00.000Z");
});
