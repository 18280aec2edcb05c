/**
 * Records LLM calls from TypeScript: Supabase Edge Functions, Next.js, Node, Deno, Bun. One file, no dependencies: copy it.
 *
 * Set `SUPABASE_URL`, `SUPABASE_ANON_KEY` (or `SUPABASE_PUBLISHABLE_KEY`) and `TREERING_KEY`, which
 * `treering keys create` prints. Nothing here throws into the caller or delays an answer. Counts are sent; costs are
 * added by Treering's worker. Field names are those of the HTTP interface.
 */

type Json = string | number | boolean | null | Json[] | { [key: string]: Json | undefined };

/** What the product says of its calls. */
export interface Context {
  user_id?: string;
  /** The customer, team or cost centre that the call is made for. */
  tenant_id?: string;
  /** At most three, names in lower case: { plan: "pro" }. */
  tags?: { [name: string]: string };
  session_id?: string;
  feature?: string;
  environment?: string;
  request_group_id?: string;
  metadata?: { [key: string]: Json | undefined };
}

/** An event with an id of the caller's own needs its time too: the pair makes a repeat recognisable. */
type Identity = { event_id?: undefined; created_at?: string | Date } | { event_id: string; created_at: string | Date };

/** The call itself. Counts as OpenAI reports them: cached and audio input are part of `prompt_tokens`. */

export interface Call extends Context {
  model: string;
  provider?: string;
  operation?: string;
  prompt_tokens?: number;
  completion_tokens?: number;
  cached_tokens?: number;
  cache_write_tokens?: number;
  reasoning_tokens?: number;
  audio_input_tokens?: number;
  audio_output_tokens?: number;
  max_output_tokens?: number;
  usage_details?: { [key: string]: Json | undefined };
  usage_source?: "reported" | "tokenizer" | "heuristic";
  status?: "ok" | "error" | "cancelled";
  error_type?: string;
  finish_reason?: string;
  streamed?: boolean;
  service_tier?: string;
  /** US dollars, where the provider itself says what it charged. */
  provider_cost?: number | string;
  request_fees?: number | string;
  latency_ms?: number;
  time_to_first_token_ms?: number;
  attempt?: number;
  prompt_hash?: string;
  prefix_hash?: string;
  response_id?: string;
}

/** One LLM call with the time of its start. */
export type UsageEvent = Call & Identity;

export interface Options {
  /** Address of the project; `SUPABASE_URL`. */
  url?: string;
  /** Insert-only key; `TREERING_KEY`. */
  key?: string;
  /** Publishable key, which lets a request through the gateway; `SUPABASE_PUBLISHABLE_KEY` or `SUPABASE_ANON_KEY`. */
  apikey?: string;
  /** Environment of calls that name none. */
  environment?: string;
  /** Keeps the process alive until events are sent: `after` of next/server, `ctx.waitUntil`. On Supabase it is found. */
  waitUntil?: (work: Promise<unknown>) => void;
  /** For one attempt; 5,000 ms. */
  timeoutMs?: number;
  /** Silence after which a stream that nobody reads any more counts as cancelled; 300,000 ms. */
  idleMs?: number;
  /** Gets what could not be stored; by default a line without the events goes to the console. */
  onError?: (problem: string, events: readonly object[]) => void;
}

/** A middleware for `wrapLanguageModel` of the `ai` package, versions 6 and 7. */
export interface Middleware {
  // The package is no dependency of this file, and its types differ from version to version.
  specificationVersion: any;
  transformParams(call: any): Promise<any>;
  wrapGenerate(call: any): Promise<any>;
  wrapStream(call: any): Promise<any>;
}

/** What holds for all calls of a model; over what was measured. */
export type Fields = Partial<Call>;

type Any = Record<string, any>;

const scope = globalThis as any;
const options = {
  timeoutMs: 5000,
  idleMs: 300_000,
  onError: (problem) => console.error(problem),
  waitUntil: (work) => scope.EdgeRuntime?.waitUntil?.(work),
} as Options & Required<Pick<Options, "timeoutMs" | "idleMs" | "onError" | "waitUntil">>;
let queue: Any[] = [];
let sent: Promise<boolean> | undefined;
let sendNow: (() => void) | undefined;

/** Set options, each over its environment variable. */
export function configure(changes: Options): void {
  Object.assign(options, changes);
}

/** Record one call and return its event id at once. */
export function recordUsage(event: UsageEvent): string {
  const event_id = event.event_id ?? uuid7();
  safely(() => {
    queue.push({ event_id, ...clean(event) });
    if (!sendNow) collect();
    if (queue[199]) sendNow!(); // a request of some 200 kB
    options.waitUntil(sent!);
  });
  return event_id;
}

/** Send what waits, now. True when everything since the last flush is stored. */
export async function flush(): Promise<boolean> {
  const all = sent;
  sendNow?.();
  sent = undefined;
  return all ?? true;
}

/**
 * For `onFinish` (`onEnd`) of `streamText` and `generateText`: one event a step. `middleware` also sees failed and
 * cancelled calls and measures the first token; use one of the two.
 */
export function onFinish(fields?: Fields): (event: any) => void {
  return ({ steps }) =>
    safely(() => {
      for (const step of steps) {
        const call = follow(
          { created_at: step.response.timestamp, latency_ms: step.performance?.responseTimeMs, ...fields },
          {},
          step.model,
        );
        call.see({ ...step.response, ...step });
        call.end();
      }
    });
}

/**
 * Record every call of a model: plain, streamed, failed, cancelled. What is known of one call alone goes into
 * `providerOptions: { treering: { user_id } }` of `generateText` or `streamText`.
 */
export function middleware(fields?: Fields): Middleware {
  return {
    specificationVersion: "v3",
    // Raw chunks hold what the package leaves out: the service tier and audio tokens.
    transformParams: async ({ type, params }) =>
      type == "stream" ? { ...params, includeRawChunks: true, asked: params.includeRawChunks } : params,
    wrapGenerate: ({ doGenerate, params, model }) =>
      follow(fields, params, model).run(async (call) => {
        const result = await doGenerate();
        const { response, content } = result;
        call.see({ ...response, delta: content[0]?.text, rawValue: response?.body, ...result });
        call.end();
        return result;
      }),
    wrapStream: ({ doStream, params, model }) =>
      follow(fields, params, model, true).run(async (call) => {
        const result = await doStream();
        const reader = result.stream.getReader();
        call.see({});
        const stream = new ReadableStream({
          pull: (controller) =>
            call.run(async () => {
              for (;;) {
                const { done, value } = await reader.read();
                if (done) {
                  call.end();
                  return controller.close();
                }
                call.see(value);
                if (params.asked || !value.rawValue) return controller.enqueue(value);
              }
            }),
          cancel(reason) {
            call.end("cancelled");
            return reader.cancel(reason);
          },
        });
        return { ...result, stream };
      }),
  };
}

interface Follower {
  /** Take a part of the answer. */
  see(part: any): void;
  /** Record the call, once; as an error where one was seen. */
  end(status?: Call["status"]): void;
  /** Do something for the call; where it fails, so does the call. */
  run<T>(work: (call: Follower) => Promise<T>): Promise<T>;
}

/** Follow one call from its start to the one event that is recorded of it. */
function follow(fields: Any | undefined, params: any, { provider, modelId }: any, streamed?: boolean): Follower {
  const created_at = new Date();
  const from = performance.now();
  let at = from;
  let text = "";
  let first: number | undefined;
  let counts: Any | undefined;
  let raw: any;
  let service_tier: any;
  let response_id: any;
  let finish_reason: any;
  let error_type: string | undefined;
  let timer: any;

  const call: Follower = {
    see: (part) =>
      safely(() => {
        const { delta, rawValue, error, usage, finishReason } = part;
        at = performance.now();
        if (streamed) {
          // A reader that goes away without a word leaves neither an end nor a cancellation.
          clearTimeout(timer);
          timer = setTimeout(() => call.end("cancelled"), options.idleMs);
        }
        if (delta) {
          first ??= at - from;
          text += delta;
        }
        if (part.modelId) ({ modelId, id: response_id } = part);
        const body = rawValue?.response ?? rawValue;
        raw = body?.usage ?? raw;
        service_tier = body?.service_tier ?? service_tier;
        const problem = body?.error ?? error;
        if (problem) error_type ??= kindOf(problem);
        if (usage) {
          counts = countsOf(usage, raw ?? usage.raw);
          const name = (finishReason.unified ?? finishReason).replace("-", "_");
          // Neither stop, length, content_filter nor tool_calls: the package fills in what never came.
          if (/^[slct]/.test(name)) finish_reason = name;
          else if (!counts) error_type ??= "stream_ended_early";
        }
      }),

    end(status = "ok") {
      clearTimeout(timer);
      call.see = call.end = () => {}; // once
      safely(() => {
        if (error_type && status == "ok") status = "error";
        // What the provider did not report is estimated; a call that failed before its first word used nothing.
        counts ??= status == "error" && !text ? {} : estimate(params.prompt, text);
        recordUsage({
          ...named(provider, modelId),
          created_at,
          streamed,
          status,
          error_type,
          finish_reason,
          response_id,
          latency_ms: at - from,
          time_to_first_token_ms: streamed && first,
          max_output_tokens: params.maxOutputTokens,
          service_tier,
          ...counts,
          ...fields,
          ...params.providerOptions?.treering,
        } as UsageEvent);
      });
    },

    async run(work) {
      try {
        return await work(call);
      } catch (error: any) {
        const isLeft = params.abortSignal?.aborted || /^Abort/.test(error);
        call.see({ error: isLeft ? null : error });
        call.end(isLeft ? "cancelled" : "ok");
        throw error;
      }
    },
  };

  return call;
}

/** Four bytes are about one token. */
function estimate(prompt: any[] = [], text: string): Any {
  const words = prompt.flatMap(({ content }) => content).map((part) => part.text ?? (part.type ? "" : part));
  const tokens = (text: string) => Math.ceil(new TextEncoder().encode(text).length / 4);
  return { prompt_tokens: tokens(words.join("")), completion_tokens: tokens(text), usage_source: "heuristic" };
}

/** Provider, operation and model as Treering names them, of a provider like "openai.responses". */
function named(provider: string, model: string) {
  const [maker, api] = provider.split(".");
  const name = maker == "gateway" ? model.split("/")[0]! : maker!;
  const names: Any = { xai: "x-ai", togetherai: "together", bedrock: "aws", "amazon-bedrock": "aws" };
  return { provider: names[name] ?? name, operation: api == "responses" ? api : "chat", model };
}

/** Counts of any version of the `ai` package; undefined where there are none. */
function countsOf(usage: any, raw: any): Any | undefined {
  const { inputTokens: input, outputTokens: output, inputTokenDetails: more } = usage;
  const prompt_tokens = input?.total ?? input;
  if (!(prompt_tokens >= 0)) return;
  return {
    prompt_tokens,
    completion_tokens: output?.total ?? output,
    cached_tokens: input.cacheRead ?? more?.cacheReadTokens,
    cache_write_tokens: input.cacheWrite ?? more?.cacheWriteTokens,
    reasoning_tokens: output?.reasoning ?? usage.outputTokenDetails?.reasoningTokens,
    audio_input_tokens: raw?.prompt_tokens_details?.audio_tokens,
    audio_output_tokens: raw?.completion_tokens_details?.audio_tokens,
    usage_details: { cache_write_1h_tokens: raw?.cache_creation?.ephemeral_1h_input_tokens },
  };
}

/** The kind of an error as the Python client names it: the provider's code, else the class; never its message. */
function kindOf(error: any): string {
  const { statusCode: status, data, name, code, type } = error;
  const classes: Any = { 400: "BadRequest", 401: "Authentication", 404: "NotFound", 429: "RateLimit" };
  return (
    data?.error?.code?.trim?.() || // a number says no more than the status
    (status
      ? (classes[status] ?? (status > 499 ? "InternalServer" : "APIStatus")) + "Error"
      : code || type || name || "provider_error")
  );
}

/** Collect events for a moment, then send them. */
function collect(): void {
  const work = new Promise<void>((resolve) => {
    sendNow = resolve;
    setTimeout(resolve, 50);
  }).then(() => {
    const events = queue;
    queue = [];
    sendNow = undefined;
    return send(events);
  });
  sent = Promise.all([sent, work]).then((results) => !results.includes(false));
}

/** Send events until they are stored or cannot be; true when they are. */
async function send(events: Any[]): Promise<boolean> {
  let problem: unknown = "no SUPABASE_URL, TREERING_KEY";
  const url = options.url ?? env("SUPABASE_URL");
  const key = options.key ?? env("TREERING_KEY");
  const apikey = options.apikey ?? env("SUPABASE_PUBLISHABLE_KEY") ?? env("SUPABASE_ANON_KEY") ?? key!;
  for (let attempt = 0; url && key && attempt < 4; attempt++) {
    // The same events with the same ids: what an attempt has stored, the next one does not store again.
    if (attempt) await new Promise((resolve) => setTimeout(resolve, attempt * 300 * Math.random()));
    try {
      const response = await fetch(url + "/rest/v1/rpc/record_usage", {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "Content-Profile": "observability",
          apikey,
          Authorization: "Bearer " + key,
        },
        // jsonb takes neither NUL nor half a surrogate pair; JSON.stringify escapes both.
        body: JSON.stringify({ events }).replace(/(?<!\\)((?:\\\\)*)\\u(0000|d[89a-f]..)/g, "$1?"),
        signal: AbortSignal.timeout(options.timeoutMs),
      });
      const answer = await response.text();
      if (response.ok && /^\d+$/.test(answer)) return true;
      problem = response.status + " " + /"message":"([^"]*)/.exec(answer)?.[1];
      if (!/^(2|5|408|42[59])/.test(problem as string)) break;
    } catch (error) {
      problem = error;
    }
  }
  safely(() => options.onError(`treering lost ${events.length} calls: ${problem}`, events));
  return false;
}

/** Make an event that the database takes, as far as can be told here; the rest it keeps apart with the reason. */
function clean(fields: UsageEvent): Any {
  const event: Any = { created_at: new Date(), user_id: "anonymous", environment: options.environment };
  for (const name in fields) {
    const value = (fields as Any)[name];
    if (value != null) event[name] = value.slice?.(0, 200) ?? value;
  }
  if (JSON.stringify(event.metadata)?.length > 4000) event.metadata = { treering_flags: ["metadata:shortened"] };
  return event;
}

/** A UUID that begins with the time. */
function uuid7(): string {
  const time = "0" + Date.now().toString(16); // eleven digits until the year 2527
  return time.replace(/.{8}/, "$&-") + "-7" + crypto.randomUUID().slice(15);
}

const env = (name: string): string | undefined => scope.Deno?.env.get(name) ?? scope.process?.env[name];

function safely(work: () => unknown): void {
  try {
    work();
  } catch {
    // A fault of ours is not the caller's.
  }
}
