-- What providers say they billed.
-- Locks: none; it only creates.

create function observability_internal.model_family(model text) returns text
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select regexp_replace(
    regexp_replace(
      regexp_replace(
        regexp_replace(lower(model), '^([^:]*/)?(([a-z-]{2,8}\.)?(anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|qwen)\.)?', ''),
        ':free$|-latest$', ''
      ),
      '([-@]20[0-9]{2}-?[0-9]{2}-?[0-9]{2})?(-v[0-9]+:[0-9]+)?$', ''
    ),
    '^(claude-.*)-v[0-9]$', '\1'
  );
$$;

comment on function observability_internal.model_family is
'A model''s name without the prefixes of gateways, clouds and makers and without its snapshot: the bill and the '
'record need not name the same one.';
revoke execute on function observability_internal.model_family from public;
grant execute on function observability_internal.model_family to authenticated, service_role;

create table observability_internal.provider_costs (
  provider text not null default 'openai',
  day date not null,
  source text not null,
  kind text not null,
  line_item text not null default '',
  item text not null default '',
  charge text not null default 'usage',
  model text not null default '',
  family text not null generated always as (observability_internal.model_family(model)) stored,
  project_id text not null default '',
  service_tier text not null default '',
  is_batch boolean not null default false,
  currency text not null default '',
  amount numeric,
  quantity numeric,
  quantity_unit text,
  tokens numeric,
  list_price numeric,
  requests bigint,
  input_tokens bigint,
  cached_tokens bigint,
  cache_write_tokens bigint,
  output_tokens bigint,
  audio_input_tokens bigint,
  audio_output_tokens bigint,
  fetched_at timestamptz not null default now(),
  constraint provider_costs_pkey primary key (
    provider, day, source, kind, line_item, item, charge, model, project_id, service_tier, is_batch, currency
  ),
  constraint "a line is of usage, a fee, a credit, an adjustment, a tax or a purchase" check (
    charge in ('usage', 'fee', 'credit', 'adjustment', 'tax', 'purchase')
  ),
  constraint "a line comes from the provider's API or an imported file" check (source in ('api', 'import')),
  constraint "a line is an amount of money or a count of usage" check (
    case kind
      when 'cost' then amount is not null and currency ~ '^[a-z]{3}$' and num_nonnulls(requests, input_tokens, output_tokens) = 0
      when 'usage' then num_nonnulls(requests, input_tokens) > 0 and amount is null and currency = '' and charge = 'usage'
      else false
    end
  ),
  constraint "a day is after 2015" check (day >= '2015-01-01'),
  constraint "an amount is within a billion" check (
    amount > -1e9 and amount < 1e9 and list_price >= 0 and list_price < 1e9 and quantity > -1e18 and quantity < 1e18
    and tokens > -1e18 and tokens < 1e18
  ),
  constraint "names have at most 500 characters" check (
    char_length(provider) between 1 and 200 and char_length(line_item) <= 500 and char_length(model) <= 200
    and char_length(project_id) <= 200 and char_length(service_tier) <= 50 and char_length(quantity_unit) <= 100
    and char_length(item) <= 50
  ),
  constraint "counts are from 0 to a quadrillion" check (
    requests between 0 and 1e15 and input_tokens between 0 and 1e15 and cached_tokens between 0 and 1e15
    and cache_write_tokens between 0 and 1e15 and output_tokens between 0 and 1e15
    and audio_input_tokens between 0 and 1e15 and audio_output_tokens between 0 and 1e15
  )
);

comment on table observability_internal.provider_costs is
'What the provider billed (kind cost) and counted (kind usage), by UTC day and line. Amounts are exact, in their own '
'currency.';

comment on column observability_internal.provider_costs.model is 'For a cost the model that its line item names, if any; for usage the model that served.';

comment on column observability_internal.provider_costs.item is
'What of the model a cost is for: input, cached_input, cache_write, output, audio_input, audio_output, …; empty where'
' the line does not say.';

comment on column observability_internal.provider_costs.tokens is 'The quantity in single tokens; null where it is of something else or not told.';

comment on column observability_internal.provider_costs.list_price is
'US dollars for a million tokens of this item at the list price; null where that is unknown.';

comment on column observability_internal.provider_costs.input_tokens is 'All input tokens: cached, written and audio ones included.';

alter table observability_internal.provider_costs enable row level security;

grant select on table observability_internal.provider_costs to authenticated;

grant select, insert, update, delete on table observability_internal.provider_costs to service_role;

create policy "analysts read what the provider billed" on observability_internal.provider_costs
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.provider_cost_revisions (
  revision_id bigint generated always as identity,
  provider text not null,
  day date not null,
  source text not null,
  old_amount numeric not null,
  new_amount numeric not null,
  revised_at timestamptz not null default now(),
  constraint provider_cost_revisions_pkey primary key (revision_id),
  constraint "a revision changes the amount" check (old_amount <> new_amount)
);

comment on table observability_internal.provider_cost_revisions is
'Days whose bill, in US dollars, changed after it had been read as a whole. The lines themselves are replaced.';

create index provider_cost_revisions_day_idx on observability_internal.provider_cost_revisions (provider, day);

alter table observability_internal.provider_cost_revisions enable row level security;

grant select on table observability_internal.provider_cost_revisions to authenticated;

grant select, insert, update, delete on table observability_internal.provider_cost_revisions to service_role;

create policy "analysts read what the provider corrected" on observability_internal.provider_cost_revisions
for select to authenticated
using ((select observability_internal.can_read_all()));

create function observability_internal.is_quiet_line(line observability_internal.provider_costs) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select line.amount = 0 and line.line_item = '' and line.model = '';
$$;

comment on function observability_internal.is_quiet_line is 'Whether a line only says that a day was asked about and had nothing.';
revoke execute on function observability_internal.is_quiet_line from public;
grant execute on function observability_internal.is_quiet_line to authenticated, service_role;

-- A day that was read while it ran, or had no amount yet, is not corrected when it gets one.
create function observability_internal.note_revisions(lines observability_internal.provider_costs[]) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  with told as (
    select
      coalesce(l.provider, 'openai') as provider, l.day, l.source,
      coalesce(sum(l.amount) filter (where l.currency = 'usd'), 0) as amount
    from unnest(lines) as l
    where l.kind = 'cost'
    group by 1, 2, 3
  ),
  stood as (
    select c.provider, c.day, c.source, sum(c.amount) as amount
    from observability_internal.provider_costs as c
    inner join told as t on c.provider = t.provider and c.day = t.day and c.source = t.source
    where c.kind = 'cost' and c.currency = 'usd'
      and c.fetched_at >= (c.day + 1)::timestamp at time zone 'UTC'
    group by c.provider, c.day, c.source
    having not bool_and(observability_internal.is_quiet_line(c))
  )
  insert into observability_internal.provider_cost_revisions (provider, day, source, old_amount, new_amount)
  select s.provider, s.day, s.source, s.amount, trim_scale(t.amount)
  from stood as s
  inner join told as t on s.provider = t.provider and s.day = t.day and s.source = t.source
  where s.amount <> t.amount;
$$;

comment on function observability_internal.note_revisions is 'Notes each day whose whole bill these lines change.';
revoke execute on function observability_internal.note_revisions from public;
grant execute on function observability_internal.note_revisions to service_role;

create function observability.record_provider_costs(rows jsonb) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_lines observability_internal.provider_costs[];
  v_count integer;
begin
  if jsonb_typeof(record_provider_costs.rows) is distinct from 'array' then
    raise exception 'rows is a JSON array of lines' using errcode = '22023';
  end if;
  v_lines := array(
    select l from jsonb_populate_recordset(
      null::observability_internal.provider_costs, record_provider_costs.rows
    ) as l
  );
  -- One answer at a time: two that replace the same day would meet at its first line.
  perform pg_advisory_xact_lock(hashtextextended('observability.record_provider_costs', 0));
  perform observability_internal.note_revisions(v_lines);
  -- An answer or a file is the whole truth on its days: a line that it no longer has is gone.
  delete from observability_internal.provider_costs as c
  using (
    select distinct coalesce(l.provider, 'openai') as provider, l.day, l.source, l.kind from unnest(v_lines) as l
  ) as told
  where c.provider = told.provider and c.day = told.day and c.source = told.source and c.kind = told.kind;
  insert into observability_internal.provider_costs as c (
    provider, day, source, kind, line_item, item, charge, model, project_id, service_tier, is_batch, currency, amount,
    quantity, quantity_unit, tokens, list_price, requests, input_tokens, cached_tokens, cache_write_tokens,
    output_tokens, audio_input_tokens, audio_output_tokens
  )
  select
    coalesce(l.provider, 'openai'), l.day, l.source, l.kind, coalesce(l.line_item, ''), coalesce(l.item, ''),
    coalesce(l.charge, 'usage'), coalesce(l.model, ''), coalesce(l.project_id, ''), coalesce(l.service_tier, ''),
    coalesce(l.is_batch, false), coalesce(l.currency, ''),
    -- A line without its figure is refused, not swallowed by its equals.
    case when count(l.amount) = count(*) then trim_scale(sum(l.amount)) end,
    case when count(distinct l.quantity_unit) <= 1 then sum(l.quantity) end,
    case when count(distinct l.quantity_unit) <= 1 then max(l.quantity_unit) end,
    case when count(l.tokens) = count(*) then sum(l.tokens) end,
    max(l.list_price),
    case when count(l.requests) = count(*) then sum(l.requests) end, sum(l.input_tokens), sum(l.cached_tokens),
    sum(l.cache_write_tokens), sum(l.output_tokens), sum(l.audio_input_tokens), sum(l.audio_output_tokens)
  from unnest(v_lines) as l
  group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12;
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

comment on function observability.record_provider_costs is
'Stores lines of a provider''s bill or usage, amounts as text. Replaces the day, source and kind of each; equal lines'
' of one call add up. Returns how many lines stand.';
revoke execute on function observability.record_provider_costs from public;
grant execute on function observability.record_provider_costs to service_role;
