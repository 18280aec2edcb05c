// Asks for each answer of the scenarios on standard input through the `ai` package, and records them by treering.ts.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, streamText, tool, wrapLanguageModel } from "ai";
import { stdin } from "node:process";
import { text } from "node:stream/consumers";

import { configure, flush, middleware, onFinish } from "../../../supabase/functions/_shared/treering.ts";

interface Scenario {
  name: string;
  api: "chat" | "responses";
  mode: "generate" | "stream" | "cancel";
}

const { openai, api, apikey, key, helper, scenarios } = JSON.parse(await text(stdin)) as {
  openai: string;
  api: string;
  apikey: string;
  key: string;
  helper: "middleware" | "onFinish";
  scenarios: Scenario[];
};
configure({ url: api, apikey, key, environment: "test" });
const provider = createOpenAI({ baseURL: openai, apiKey: "sk-test" });
const tools = {
  water: tool({
    description: "Water a tree.",
    inputSchema: jsonSchema<{ tree: string }>({ type: "object", properties: { tree: { type: "string" } } }),
  }),
};

for (const { name, api, mode } of scenarios) {
  const bare = api === "chat" ? provider.chat("gpt-4o") : provider.responses("gpt-4o");
  const model =
    helper === "middleware" ? wrapLanguageModel({ model: bare, middleware: middleware({ feature: "chat" }) }) : bare;
  const finished = onFinish({ feature: "chat", session_id: name, user_id: "user_a", streamed: mode === "stream" });
  const call = {
    model,
    prompt: "How do I water my living tree?",
    maxOutputTokens: 100,
    maxRetries: 0,
    tools,
    providerOptions: { treering: { user_id: "user_a", session_id: name } },
    ...(helper === "onFinish" && { onFinish: finished }),
  };
  if (mode === "generate") {
    await generateText(call).catch(() => undefined);
    continue;
  }
  const leaving = new AbortController();
  const result = streamText({ ...call, abortSignal: leaving.signal, onError: () => undefined });
  try {
    for await (const part of result.fullStream) {
      if (mode === "cancel" && part.type === "text-delta") leaving.abort();
    }
  } catch {
    // What a caller sees of an error is not what is tested here.
  }
}
if (!(await flush())) throw new Error("not everything was stored");
