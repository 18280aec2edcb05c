-- What became of each suggestion to save: open, accepted, measured, verified or withdrawn, dismissed.
-- Locks: none to apply, it only creates. At run time row locks on the suggestions that it changes.

create table observability_internal.saving_ledger (
  suggestion_key text not null,
  kind text not null,
  provider text not null,
  model text not null,
  feature text,
  replacement text,
  headline text not null,
  needs_evaluation boolean not null,
  state text not null default 'open',
  low numeric not null,
  expected numeric not null,
  high numeric not null,
  opened_at timestamptz not null,
  seen_at timestamptz not null,
  accepted_on date,
  accepted_expected numeric,
  holdout_share numeric,
  closed_expected numeric,
  reason text,
  measured_at timestamptz,
  measured_low numeric,
  measured_expected numeric,
  measured_high numeric,
  measured_by text,
  constraint saving_ledger_pkey primary key (suggestion_key),
  constraint "names of a suggestion have at most 1,000 characters" check (
    char_length(suggestion_key) <= 1000 and char_length(headline) <= 1000 and char_length(reason) <= 1000
  ),
  constraint "a suggestion is open, accepted, measured, verified, withdrawn or dismissed" check (
    state in ('open', 'accepted', 'measured', 'verified', 'withdrawn', 'dismissed')
  ),
  constraint "what was accepted has its day" check (
    state not in ('accepted', 'measured', 'verified') or (accepted_on is not null and accepted_expected is not null)
  ),
  constraint "from 1 to 50 percent of the users are held out" check (holdout_share between 0.01 and 0.5),
  constraint "a result says what it was compared with" check (
    (measured_expected is null) = (measured_by is null) and measured_by in ('before_after', 'holdout')
  ),
  constraint "what was dismissed has a reason" check (state <> 'dismissed' or reason is not null)
);

comment on table observability_internal.saving_ledger is
'Each suggestion with its latest figures, what was decided about it and what came of that; US dollars a month.';

alter table observability_internal.saving_ledger enable row level security;

grant select on table observability_internal.saving_ledger to authenticated;

grant select, insert, update, delete on table observability_internal.saving_ledger to service_role;

create policy "analysts read the ledger" on observability_internal.saving_ledger
for select to authenticated
using ((select observability_internal.can_read_all()));

create function observability.record_savings(suggestions jsonb, as_of timestamptz default null) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_now constant timestamptz := coalesce(record_savings.as_of, clock_timestamp());
  v_count integer;
begin
  if jsonb_typeof(suggestions) is distinct from 'array' then
    raise exception 'suggestions are an array of objects' using errcode = '22023';
  end if;
  insert into observability_internal.saving_ledger as l (
    suggestion_key, kind, provider, model, feature, replacement, headline, needs_evaluation, low, expected, high, opened_at,
    seen_at
  )
  select s.suggestion_key, s.kind, s.provider, s.model, s.feature, s.replacement, s.headline, s.needs_evaluation, s.low, s.expected, s.high, v_now, v_now
  from jsonb_to_recordset(suggestions) as s (
    suggestion_key text, kind text, provider text, model text, feature text, replacement text, headline text,
    needs_evaluation boolean, low numeric, expected numeric, high numeric
  )
  on conflict (suggestion_key) do update set
    low = excluded.low, expected = excluded.expected, high = excluded.high, headline = excluded.headline,
    replacement = excluded.replacement, seen_at = v_now,
    -- What was dismissed or withdrawn comes back when it is worth half as much again as on that day.
    state = case
      when l.state in ('dismissed', 'withdrawn') and excluded.expected >= 1.5 * l.closed_expected then 'open' else l.state
    end,
    opened_at = case
      when l.state in ('dismissed', 'withdrawn') and excluded.expected >= 1.5 * l.closed_expected then v_now else l.opened_at
    end;
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

comment on function observability.record_savings is
'Keeps the figures of the suggestions that were found: new ones open; dismissed and withdrawn ones again when they are'
' worth half as much again.';
revoke execute on function observability.record_savings from public;
grant execute on function observability.record_savings to service_role;

create function observability.record_saving_result(
  suggestion_key text, state text, low numeric, expected numeric, high numeric, measured_by text default 'before_after',
  as_of timestamptz default null
) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  if record_saving_result.state not in ('measured', 'verified', 'withdrawn') then
    raise exception 'a result is measured, verified or withdrawn' using errcode = '22023';
  end if;
  update observability_internal.saving_ledger as l set
    state = record_saving_result.state, measured_low = record_saving_result.low,
    measured_expected = record_saving_result.expected, measured_high = record_saving_result.high,
    measured_by = record_saving_result.measured_by,
    closed_expected = case when record_saving_result.state = 'withdrawn' then l.expected end,
    measured_at = coalesce(record_saving_result.as_of, clock_timestamp())
  where l.suggestion_key = record_saving_result.suggestion_key and l.state in ('accepted', 'measured', 'verified');
  return found;
end;
$$;

comment on function observability.record_saving_result is
'Writes what an accepted suggestion was measured to save a month; false where none of that key was accepted.';
revoke execute on function observability.record_saving_result from public;
grant execute on function observability.record_saving_result to service_role;

-- open is accepted or dismissed; everything else is reopened first, so that no result is lost by a second click.
-- Security definer: ops decide; nobody writes the table itself.
create function observability.decide_saving(
  suggestion_key text, decision text, reason text default null, accepted_on date default null, holdout_share numeric default null
) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  if decision not in ('accept', 'dismiss', 'reopen') or (decision = 'dismiss' and coalesce(btrim(decide_saving.reason), '') = '') then
    raise exception 'a decision is accept, dismiss (with a reason) or reopen' using errcode = '22023';
  end if;
  if decide_saving.holdout_share not between 0.01 and 0.5 then
    raise exception 'from 1 to 50 percent of the users are held out' using errcode = '22023';
  end if;
  if decide_saving.accepted_on > (now() at time zone 'UTC')::date + 1 then
    raise exception 'a change is accepted when it is made: its day is not in the future' using errcode = '22023';
  end if;
  update observability_internal.saving_ledger as l set
    state = case decision when 'accept' then 'accepted' when 'dismiss' then 'dismissed' else 'open' end,
    reason = case decision when 'reopen' then null else coalesce(decide_saving.reason, l.reason) end,
    accepted_on = case decision when 'accept' then coalesce(decide_saving.accepted_on, (now() at time zone 'UTC')::date) end,
    accepted_expected = case decision when 'accept' then l.expected end,
    holdout_share = case decision when 'accept' then decide_saving.holdout_share end,
    closed_expected = case decision when 'dismiss' then l.expected end,
    opened_at = case decision when 'reopen' then now() else l.opened_at end,
    measured_at = null, measured_low = null, measured_expected = null, measured_high = null, measured_by = null
  where l.suggestion_key = decide_saving.suggestion_key and (decision = 'reopen') = (l.state <> 'open');
  return found;
end;
$$;

comment on function observability.decide_saving is
'Accepts an open suggestion (the change was made on that UTC day; that share of the users is held out), dismisses it with a'
' reason, or opens another one again. False where its state is not the one that this decision needs. Ops.';
revoke execute on function observability.decide_saving from public;
grant execute on function observability.decide_saving to authenticated, service_role;

create function observability.get_saving_ledger() returns jsonb
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
    'entries', (
      select coalesce(jsonb_agg(
        to_jsonb(l) || jsonb_build_object(
          'low', l.low::text, 'expected', l.expected::text, 'high', l.high::text,
          'accepted_expected', l.accepted_expected::text, 'closed_expected', l.closed_expected::text,
          'holdout_share', l.holdout_share::text,
          'measured_low', l.measured_low::text, 'measured_expected', l.measured_expected::text,
          'measured_high', l.measured_high::text
        ) order by l.expected desc, l.suggestion_key
      ), '[]')
      from observability_internal.saving_ledger as l
    )
  );
end;
$$;

comment on function observability.get_saving_ledger is 'Every suggestion with its state and figures, the largest first: {entries}. Analysts and ops.';
revoke execute on function observability.get_saving_ledger from public;
grant execute on function observability.get_saving_ledger to authenticated, service_role;

-- A unit of work is a call that was of use: one that was no retry, failure, repeat or cancelled.
create function observability.get_unit_costs(
  from_day date, to_day date, provider text, feature text default null, model text default null
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return (
    select coalesce(jsonb_agg(to_jsonb(u) || jsonb_build_object('cost', u.cost::text) order by u.day, u.stratum), '[]')
    from (
      select
        f.day, f.feature || '/' || f.operation as stratum, coalesce(sum(f.calls) filter (where f.waste & 63 = 0), 0) as units,
        sum(f.cost) as cost
      from observability_internal.saving_facts as f
      where f.day >= get_unit_costs.from_day and f.day < get_unit_costs.to_day and f.provider = get_unit_costs.provider
        and (get_unit_costs.feature is null or f.feature = get_unit_costs.feature)
        -- Of a suggestion about a model, the features that used it.
        and (get_unit_costs.model is null or f.feature in (
          select g.feature from observability_internal.saving_facts as g
          where g.day >= get_unit_costs.from_day and g.day < get_unit_costs.to_day and g.model = get_unit_costs.model
        ))
      group by f.day, f.feature, f.operation
    ) as u
  );
end;
$$;

comment on function observability.get_unit_costs is
'Cost and units of work by UTC day and stratum (feature and operation) of what a suggestion is about. Analysts and ops.';
revoke execute on function observability.get_unit_costs from public;
grant execute on function observability.get_unit_costs to authenticated, service_role;

-- Users are told apart, so this is for the worker alone. Of more than 50,000 users a fixed part is read.
create function observability.get_user_costs(
  from_day date, to_day date, provider text, feature text default null, model text default null
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
set timezone = 'UTC'
as $$
declare
  v_most constant integer := 50000;
  v_dims constant integer[] := array(
    select d.dim_id
    from observability_internal.dimensions as d
    where d.provider = get_user_costs.provider
      and (get_user_costs.feature is null or d.feature = get_user_costs.feature)
      -- Of a suggestion about a model, the features that used it.
      and (get_user_costs.model is null or d.feature in (
        select g.feature from observability_internal.saving_facts as g
        where g.day >= get_user_costs.from_day - 60 and g.day < get_user_costs.to_day and g.model = get_user_costs.model
      ))
  );
  v_part integer;
begin
  perform observability_internal.require_access('{service}');
  v_part := 1 + (select count(*) from observability_internal.users) / v_most;
  return jsonb_build_object('part', v_part, 'users', (
    select coalesce(jsonb_agg(to_jsonb(c) || jsonb_build_object('cost', c.cost::text) order by c.user_id, c.stratum), '[]')
    from (
      select
        u.user_id, d.feature || '/' || d.operation as stratum, count(distinct r.bucket::date) as days,
        coalesce(sum(r.requests - coalesce(r.unpriced_requests, 0) - coalesce(r.fallback_requests, 0))
        filter (where d.status = 'ok'), 0) as calls,
        sum(r.cost) as cost
      from observability_internal.usage_by_user as r
      inner join observability_internal.dimensions as d using (dim_id)
      inner join observability_internal.users as u using (user_key)
      where r.bucket >= get_user_costs.from_day and r.bucket < get_user_costs.to_day and r.dim_id = any (v_dims)
        and (hashtext(u.user_id) & 2147483647) % v_part = 0
      group by u.user_id, d.feature, d.operation
    ) as c
  ));
end;
$$;

comment on function observability.get_user_costs is
'Cost and work by user and stratum of what a suggestion is about: {part, users}; one of `part` users was read. For the'
' worker.';
revoke execute on function observability.get_user_costs from public;
grant execute on function observability.get_user_costs to service_role;
