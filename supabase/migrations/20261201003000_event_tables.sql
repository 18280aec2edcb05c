-- The raw rows, one per LLM call and one per HTTP request, partitioned by month, and what surrounds their arrival.
-- Locks: none; it only creates.

create function observability_internal.are_tags(tags jsonb) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  select tags is null or (
    jsonb_typeof(tags) = 'object' and (
      select
        count(*) between 1 and 3
        and bool_and(
          t.key ~ '^[a-z][a-z0-9_]{0,39}$' and jsonb_typeof(t.value) = 'string'
          and char_length(t.value #>> '{}') between 1 and 200
        )
      from jsonb_each(case jsonb_typeof(tags) when 'object' then tags else '{}' end) as t
    )
  );
$$;

comment on function observability_internal.are_tags is
'Whether this is what a call may have as tags: null, or one to three texts by names in lower case.';
revoke execute on function observability_internal.are_tags from public;
grant execute on function observability_internal.are_tags to service_role;

create table observability_internal.ai_usage_metrics (
  event_id uuid not null,
  created_at timestamptz not null,
  received_at timestamptz not null default now(),
  batch_id bigint not null,
  user_id text not null,
  tenant_id text,
  tags jsonb,
  session_id text,
  feature text,
  environment text not null default 'production',
  provider text not null default 'openai',
  model text not null,
  operation text not null default 'chat',
  status text not null default 'ok',
  error_type text,
  finish_reason text,
  streamed boolean not null default false,
  service_tier text,
  prompt_tokens bigint not null default 0,
  completion_tokens bigint not null default 0,
  cached_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  audio_input_tokens bigint not null default 0,
  audio_output_tokens bigint not null default 0,
  max_output_tokens bigint,
  usage_source text not null default 'reported',
  estimated_cost numeric,
  cost_source text not null default 'unpriced',
  price_id text,
  provider_cost numeric,
  request_fees numeric,
  latency_ms double precision,
  time_to_first_token_ms double precision,
  request_group_id text,
  attempt integer not null default 1,
  prompt_hash text,
  prefix_hash text,
  prefix_tokens bigint,
  prompt_blocks bytea,
  response_id text,
  metadata jsonb,
  usage_details jsonb,
  constraint ai_usage_metrics_pkey primary key (event_id, created_at),
  constraint "a call happened after 2015 and not in the future" check (
    created_at >= '2015-01-01 00:00:00+00' and created_at <= received_at + interval '24 hours'
  ),
  constraint "a user id has 1 to 200 characters" check (char_length(user_id) between 1 and 200),
  constraint "a model name has 1 to 200 characters" check (char_length(model) between 1 and 200),
  constraint "a tenant id has 1 to 200 characters" check (char_length(tenant_id) between 1 and 200),
  constraint "tags are at most three texts of 1 to 200 characters" check (observability_internal.are_tags(tags)),
  constraint "names have at most 200 characters" check (
    char_length(provider) <= 200 and char_length(environment) <= 200 and char_length(operation) <= 200
    and char_length(feature) <= 200 and char_length(session_id) <= 200 and char_length(error_type) <= 200
    and char_length(finish_reason) <= 200 and char_length(service_tier) <= 200 and char_length(price_id) <= 200
    and char_length(request_group_id) <= 200 and char_length(prompt_hash) <= 200 and char_length(prefix_hash) <= 200
    and char_length(response_id) <= 200
  ),
  constraint "status is ok, error or cancelled" check (status in ('ok', 'error', 'cancelled')),
  constraint "usage comes from the provider, a tokenizer or a heuristic" check (
    usage_source in ('reported', 'tokenizer', 'heuristic')
  ),
  constraint "cost source is priced, provider, fallback or unpriced" check (
    cost_source in ('priced', 'provider', 'fallback', 'unpriced')
  ),
  constraint "an unpriced call has no cost and every other has one" check (
    (cost_source = 'unpriced') = (estimated_cost is null)
  ),
  -- A refund or credit is below zero.
  constraint "money is a number below a billion and fees are not negative" check (
    estimated_cost > -1e9 and estimated_cost < 1e9 and provider_cost > -1e9 and provider_cost < 1e9
    and request_fees >= 0 and request_fees < 1e9
  ),
  constraint "token counts are from 0 to a trillion" check (
    prompt_tokens between 0 and 1e12 and completion_tokens between 0 and 1e12 and cache_write_tokens between 0 and 1e12
    and max_output_tokens between 0 and 1e12 and prefix_tokens between 0 and prompt_tokens
  ),
  constraint "the parts of the prompt do not exceed it" check (
    cached_tokens between 0 and prompt_tokens and audio_input_tokens between 0 and prompt_tokens
  ),
  constraint "the parts of the completion do not exceed it" check (
    reasoning_tokens between 0 and completion_tokens and audio_output_tokens between 0 and completion_tokens
  ),
  constraint "durations are from 0 ms to 11 days" check (
    latency_ms >= 0 and latency_ms < 1e9 and time_to_first_token_ms >= 0 and time_to_first_token_ms < 1e9
  ),
  constraint "attempts count from 1" check (attempt between 1 and 1000),
  constraint "metadata is an object of at most 8 KiB" check (
    jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 8192
  ),
  constraint "prompt blocks are a size and at most 63 hashes of four bytes" check (
    octet_length(prompt_blocks) between 4 and 256 and octet_length(prompt_blocks) % 4 = 0
  ),
  constraint "usage details are an object of at most 8 KiB" check (
    jsonb_typeof(usage_details) = 'object' and octet_length(usage_details::text) <= 8192
  )
) partition by range (created_at
);

comment on table observability_internal.ai_usage_metrics is
'One row per LLM call. Token counts are inclusive as OpenAI reports them; money is exact US dollars, a refund negative.';

comment on column observability_internal.ai_usage_metrics.tenant_id is
'The customer, team or cost centre that the call was made for; null where there is none.';

comment on column observability_internal.ai_usage_metrics.tags is
'Values of up to three tags that the customer declares, {name: text}; null where there are none.';

comment on column observability_internal.ai_usage_metrics.usage_details is
'Counts that few calls have (cache writes of an hour, images, cached audio), units {kind: count} and reported_cost; until'
' the worker has read it, the usage object of the provider as reported.';

comment on column observability_internal.ai_usage_metrics.prompt_blocks is
'Evidence of shared beginnings without any text: the size of the prompt in bytes, then a salted hash of everything'
' before each of the positions of observability_internal.block_position, four bytes each.';

create index ai_usage_metrics_batch_id_idx on observability_internal.ai_usage_metrics (batch_id);

create index ai_usage_metrics_created_at_idx on observability_internal.ai_usage_metrics (created_at, event_id);

-- Few calls have a fee or are a credit: the bill's comparison finds them without reading the others.
create index ai_usage_metrics_fees_idx on observability_internal.ai_usage_metrics (created_at)
where request_fees is not null or estimated_cost < 0;

create index ai_usage_metrics_user_id_idx on observability_internal.ai_usage_metrics (user_id, created_at);

-- Empty where the product has no tenants.
create index ai_usage_metrics_tenant_id_idx on observability_internal.ai_usage_metrics (tenant_id, created_at)
where tenant_id is not null;

-- Rows come in the order of their arrival, so a block range index by it is tiny.
create index ai_usage_metrics_received_at_idx on observability_internal.ai_usage_metrics
using brin (received_at) with (autosummarize = on);

alter table observability_internal.ai_usage_metrics enable row level security;

grant select on table observability_internal.ai_usage_metrics to authenticated;

grant select, insert, update, delete on table observability_internal.ai_usage_metrics to service_role;

create policy "people read their own calls, a tenant its own, analysts all" on observability_internal.ai_usage_metrics
for select to authenticated
using (
  (select observability_internal.can_read_all()) or user_id = (select observability_internal.current_person())
  or tenant_id = (select observability_internal.current_tenant())
);

create table observability_internal.performance_metrics (
  event_id uuid not null,
  created_at timestamptz not null,
  received_at timestamptz not null default now(),
  batch_id bigint not null,
  environment text not null default 'production',
  route text not null,
  method text not null,
  status_code integer not null,
  error_type text,
  user_id text,
  latency_ms double precision not null,
  time_to_first_byte_ms double precision,
  sample_weight double precision not null default 1,
  metadata jsonb,
  constraint performance_metrics_pkey primary key (event_id, created_at),
  constraint "a request happened after 2015 and not in the future" check (
    created_at >= '2015-01-01 00:00:00+00' and created_at <= received_at + interval '24 hours'
  ),
  constraint "a route has 1 to 200 characters" check (char_length(route) between 1 and 200),
  constraint "names have at most 200 characters" check (
    char_length(environment) <= 200 and char_length(method) <= 20 and char_length(error_type) <= 200
    and char_length(user_id) <= 200
  ),
  constraint "a status code has three digits" check (status_code between 100 and 999),
  constraint "durations are from 0 ms to 11 days" check (
    latency_ms >= 0 and latency_ms < 1e9 and time_to_first_byte_ms >= 0 and time_to_first_byte_ms < 1e9
  ),
  constraint "a sample stands for 1 to a million requests" check (sample_weight >= 1 and sample_weight <= 1e6),
  constraint "metadata is an object of at most 8 KiB" check (
    jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 8192
  )
) partition by range (created_at
);

comment on table observability_internal.performance_metrics is 'One row per sampled HTTP request of the product; sample_weight requests stand behind each.';

create index performance_metrics_batch_id_idx on observability_internal.performance_metrics (batch_id);

create index performance_metrics_created_at_idx on observability_internal.performance_metrics (created_at, event_id);

create index performance_metrics_user_id_idx on observability_internal.performance_metrics (user_id, created_at);

-- Rows come in the order of their arrival, so a block range index by it is tiny.
create index performance_metrics_received_at_idx on observability_internal.performance_metrics
using brin (received_at) with (autosummarize = on);

alter table observability_internal.performance_metrics enable row level security;

grant select on table observability_internal.performance_metrics to authenticated;

grant select, insert, update, delete on table observability_internal.performance_metrics to service_role;

create policy "people read their own requests, analysts all" on observability_internal.performance_metrics
for select to authenticated
using ((select observability_internal.can_read_all()) or user_id = (select observability_internal.current_person()));

create sequence observability_internal.batch_ids as bigint;

grant usage on sequence observability_internal.batch_ids to service_role;

create table observability_internal.pending_batches (
  batch_id bigint not null,
  kind text not null,
  row_count integer not null,
  min_created_at timestamptz not null,
  max_created_at timestamptz not null,
  enqueued_at timestamptz not null default now(),
  needs_price boolean not null default false,
  needs_usage boolean not null default false,
  constraint pending_batches_pkey primary key (batch_id),
  constraint "a batch holds usage or performance" check (kind in ('usage', 'performance'))
);

comment on table observability_internal.pending_batches is 'Batches stored but not yet in the rollups. Written with the rows, deleted with their roll-up.';

comment on column observability_internal.pending_batches.needs_price is
'Some of its calls came without a cost: the worker prices them before they are rolled up.';

comment on column observability_internal.pending_batches.needs_usage is
'Some of its calls came with their provider''s own usage object and without counts: these are never rolled up unread.';

alter table observability_internal.pending_batches enable row level security;

grant select, insert, update, delete on table observability_internal.pending_batches to service_role;

create table observability_internal.rejected_events (
  rejected_id bigint generated always as identity,
  received_at timestamptz not null default now(),
  kind text not null,
  sqlstate text not null,
  reason text not null,
  event jsonb not null,
  constraint rejected_events_pkey primary key (rejected_id)
);

comment on table observability_internal.rejected_events is 'Events that could not be stored, with the reason; identifiers and figures only, no metadata.';

create index rejected_events_received_at_idx on observability_internal.rejected_events (received_at);

alter table observability_internal.rejected_events enable row level security;

grant select, insert, update, delete on table observability_internal.rejected_events to service_role;
