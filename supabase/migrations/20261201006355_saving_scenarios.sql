-- What-ifs that somebody kept, to be shown beside what happened.
-- Locks: none to apply, it only creates. At run time row locks on the scenarios that it changes.

create table observability_internal.saving_scenarios (
  scenario_id bigint generated always as identity,
  name text not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  change jsonb not null,
  filters jsonb not null,
  about text,
  from_day date not null,
  to_day date not null,
  days integer not null,
  units bigint not null,
  cost numeric not null,
  changed_cost numeric not null,
  constraint saving_scenarios_pkey primary key (scenario_id),
  constraint "a scenario has a name of at most 200 characters" check (char_length(btrim(name)) between 1 and 200),
  constraint "a scenario is about days that had calls" check (
    isfinite(from_day) and isfinite(to_day) and from_day < to_day and days > 0 and units > 0
  ),
  constraint "a scenario's costs are finite" check (
    least(cost, changed_cost) > '-Infinity' and greatest(cost, changed_cost) < 'Infinity'
  ),
  constraint "a scenario is about calls that can be judged" check (
    about in ('superseded', 'failed', 'repeated', 'embedded_again', 'cancelled', 'job', 'hurried', 'long_input')
  ),
  constraint "a scenario's change and filters are small objects" check (
    jsonb_typeof(change) = 'object' and jsonb_typeof(filters) = 'object' and pg_column_size(change) <= 4000
    and pg_column_size(filters) <= 16000
  )
);

comment on table observability_internal.saving_scenarios is
'Kept what-ifs: what is changed, for which calls, and what these cost and would have cost in the days priced anew; US dollars.';

alter table observability_internal.saving_scenarios enable row level security;

grant select on table observability_internal.saving_scenarios to authenticated;

grant select, insert, update, delete on table observability_internal.saving_scenarios to service_role;

create policy "analysts read the scenarios" on observability_internal.saving_scenarios
for select to authenticated
using ((select observability_internal.can_read_all()));

-- Security definer: analysts keep scenarios; nobody writes the table itself.
create function observability.save_scenario(scenario jsonb) returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  -- More than anybody looks at; each is priced anew when it is shown.
  v_most constant integer := 100;
  v_filters constant jsonb := coalesce(save_scenario.scenario -> 'filters', '{}');
  v_change constant jsonb := coalesce(save_scenario.scenario -> 'change', '{}');
  v_names constant text[] := array['model', 'provider', 'service_tier'];
  v_shares constant text[] := array['cached_share', 'calls_share', 'hour_writes_share'];
  v_lengths constant text[] := array['prompt_share', 'completion_share'];
  v_unknown text;
  v_id bigint;
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  if jsonb_typeof(scenario) is distinct from 'object' or jsonb_typeof(v_filters) is distinct from 'object'
    or jsonb_typeof(v_change) is distinct from 'object' then
    raise exception 'a scenario is a JSON object, and so are its filters and its change' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(v_filters) as k (key)
  where k.key <> all (array['provider', 'model', 'feature', 'environment', 'operation', 'user_id'])
    or observability_internal.filter_values(v_filters, k.key) is null
  limit 1;
  if v_unknown is not null then
    raise exception 'a scenario has no filter %', left(v_unknown, 100) using errcode = '22023';
  end if;
  -- As ingest.savings.what_if.Change: one that cannot be read would take all others off the page.
  select k.key into v_unknown
  from jsonb_each(v_change) as k (key, value)
  where jsonb_typeof(k.value) <> 'string' or k.key <> all (v_names || v_shares || v_lengths)
    or (k.key = 'provider' and not v_change ? 'model')
    or (
      k.key <> all (v_names)
      and case
        when k.value #>> '{}' !~ '^[0-9]{1,9}([.][0-9]{1,50})?([eE]-?[0-9]{1,2})?$' then true
        when k.key = any (v_shares) then (k.value #>> '{}')::numeric > 1
        else (k.value #>> '{}')::numeric not between 1e-150 and 10
      end
    )
  limit 1;
  if v_unknown is not null then
    raise exception 'a scenario cannot change % like this', left(v_unknown, 100) using errcode = '22023';
  end if;
  if (select count(*) from observability_internal.saving_scenarios) >= v_most then
    raise exception 'at most % scenarios are kept: delete one first', v_most using errcode = '22023';
  end if;
  insert into observability_internal.saving_scenarios (
    name, created_by, change, filters, about, from_day, to_day, days, units, cost, changed_cost
  )
  select
    btrim(s.name), coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role', 'service_role'), s.change, v_filters, s.about,
    s.from_day, s.to_day, s.days, s.units, s.cost, s.changed_cost
  from jsonb_to_record(scenario) as s (
    name text, change jsonb, about text, from_day date, to_day date, days integer, units bigint, cost numeric, changed_cost numeric
  )
  returning scenario_id into v_id;
  return v_id;
end;
$$;

comment on function observability.save_scenario is
'Keeps a what-if {name, change, filters, about, from_day, to_day, days, units, cost, changed_cost} and returns its number.'
' Analysts and ops.';
revoke execute on function observability.save_scenario from public;
grant execute on function observability.save_scenario to authenticated, service_role;

-- Security definer: nobody writes the table itself.
create function observability.delete_scenario(scenario_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_access constant text := observability_internal.require_access('{analyst,ops,service}');
begin
  delete from observability_internal.saving_scenarios as s
  where s.scenario_id = delete_scenario.scenario_id
    and (v_access in ('ops', 'service') or s.created_by = auth.jwt() ->> 'sub');
  return found;
end;
$$;

comment on function observability.delete_scenario is
'Deletes a kept what-if; analysts their own, ops any. False where there is none that the caller may delete.';
revoke execute on function observability.delete_scenario from public;
grant execute on function observability.delete_scenario to authenticated, service_role;

create function observability.get_scenarios() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_access constant text := observability_internal.require_access('{analyst,ops,service}');
begin
  return jsonb_build_object(
    'access', case when v_access = 'service' then 'ops' else v_access end, 'generated_at', clock_timestamp(),
    'scenarios', (
      select coalesce(jsonb_agg(
        to_jsonb(s) || jsonb_build_object('cost', s.cost::text, 'changed_cost', s.changed_cost::text)
        order by s.scenario_id desc
      ), '[]')
      from observability_internal.saving_scenarios as s
    )
  );
end;
$$;

comment on function observability.get_scenarios is 'Every kept what-if, the newest first: {scenarios}. Analysts and ops.';
revoke execute on function observability.get_scenarios from public;
grant execute on function observability.get_scenarios to authenticated, service_role;

create function observability_internal.forget_in_savings(user_id text) returns integer
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_name constant text := forget_in_savings.user_id;
  v_rows integer;
  v_total integer := 0;
begin
  -- Sums of one person's calls go with the person; of several people's they tell nobody apart.
  delete from observability_internal.saving_scenarios as s where s.filters -> 'user_id' = jsonb_build_array(v_name);
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.saving_scenarios as s set
    filters = case when s.filters -> 'user_id' ? v_name then jsonb_set(s.filters, '{user_id}', (s.filters -> 'user_id') - v_name) else s.filters end,
    created_by = case when s.created_by = v_name then observability_internal.forgotten_user() else s.created_by end,
    name = replace(s.name, v_name, observability_internal.forgotten_user())
  where s.created_by = v_name or s.filters -> 'user_id' ? v_name or position(v_name in s.name) > 0;
  get diagnostics v_rows = row_count;
  v_total := v_total + v_rows;
  update observability_internal.saving_ledger as l
  set reason = replace(l.reason, v_name, observability_internal.forgotten_user())
  where position(v_name in l.reason) > 0;
  get diagnostics v_rows = row_count;
  return v_total + v_rows;
end;
$$;

comment on function observability_internal.forget_in_savings is
'Takes a person out of scenarios and out of reasons in the ledger; returns how many rows.';
revoke execute on function observability_internal.forget_in_savings from public;
