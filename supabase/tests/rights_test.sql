-- Rights by actor: what a stranger, a member, an analyst, an ops member, the service and an insert-only key see and are refused.
begin;

create schema if not exists extensions;

create extension if not exists pgtap with schema extensions;

grant usage on schema extensions to anon, authenticated, service_role, treering_writer;

grant execute on all functions in schema extensions to anon, authenticated, service_role, treering_writer;

set local search_path = public, extensions;

select plan(31);

create function pg_temp.sign_in(role_name text, subject text) returns void
language sql
as $$
  select
    set_config('request.jwt.claims', json_build_object('role', role_name, 'sub', subject)::text, true),
    set_config('role', role_name, true);
$$;

grant execute on function pg_temp.sign_in(text, text) to anon, authenticated, service_role, treering_writer;

insert into observability_internal.members (user_id, role) values ('user_ana', 'analyst'), ('user_ops', 'ops');

select pg_temp.sign_in('service_role', null);

select is(
  observability.record_usage(jsonb_build_array(
    jsonb_build_object(
      'event_id', '0199d0a0-0000-7000-8000-000000000001', 'created_at', '2026-05-04 10:00:00+00', 'user_id', 'user_a',
      'model', 'gpt-4o', 'prompt_tokens', 150, 'completion_tokens', 50, 'estimated_cost', '0.000875',
      'cost_source', 'priced'
    ),
    jsonb_build_object(
      'event_id', '0199d0a0-0000-7000-8000-000000000002', 'created_at', '2026-05-04 10:01:00+00', 'user_id', 'user_b',
      'model', 'gpt-4o', 'prompt_tokens', 1000, 'completion_tokens', 0, 'estimated_cost', '0.0025',
      'cost_source', 'priced'
    ),
    '{"event_id": "0199d0a0-0000-7000-8000-000000000003", "created_at": "2026-05-04 10:01:00+00", "model": "gpt-4o"}'::jsonb
  )),
  2,
  'two good events are stored beside a bad one'
);

select is(
  (
    select max(r.reason)
    from observability_internal.rejected_events as r
    where r.event ->> 'model' = 'gpt-4o'
  ),
  'null value in column "user_id" of relation "ai_usage_metrics_202605" violates not-null constraint',
  'the bad event is kept with the reason'
);

select is(
  observability.record_usage(
    '[{"event_id": "0199d0a0-0000-7000-8000-000000000001", "created_at": "2026-05-04 10:00:00+00", "user_id": "user_a", "model": "gpt-4o"}]'
  ),
  0,
  'a repeated event stores nothing'
);

select is((observability.roll_up() ->> 'usage_rows')::integer, 2, 'the roll-up adds each row once');

select is((observability.roll_up() ->> 'usage_rows')::integer, 0, 'a second roll-up adds nothing');

select throws_ok(
  $$ select observability.record_usage('{"not": "a list"}') $$, '22023', 'events must be a JSON array',
  'what is not a list is refused'
);

select pg_temp.sign_in('authenticated', 'user_a');

select is((select count(*) from observability_internal.ai_usage_metrics), 1::bigint, 'a member reads their own rows only');

select is(
  observability.get_overview('2026-05-04', '2026-05-05') #>> '{totals,cost}', '0.000875',
  'a member''s overview sums their own calls'
);

select is(
  jsonb_array_length(observability.get_costs('2026-05-04', '2026-05-05') -> 'by_user'), 1,
  'a member''s costs name no other user'
);

select throws_ok(
  $$ select observability.get_overview('2026-05-04', '2026-05-05', '{"user_id": "user_b"}') $$, '42501',
  'members see their own calls only', 'a member cannot ask for another''s calls'
);

select throws_ok(
  $$ select observability.record_usage('[]') $$, '42501', null, 'a member cannot write usage'
);

select throws_ok($$ select observability.roll_up() $$, '42501', null, 'a member cannot run the roll-up');

select throws_ok($$ select observability.get_status() $$, '42501', null, 'a member cannot see the jobs');

select throws_ok(
  $$ select observability.add_member('user_a', 'ops') $$, '42501', null, 'a member cannot raise their own rights'
);

select throws_ok(
  $$ insert into observability_internal.members (user_id, role) values ('user_a', 'ops') $$, '42501', null,
  'nor by writing the table'
);

select throws_ok(
  $$ select * from observability_internal.ai_usage_metrics_202605 $$, '42501', null,
  'a partition cannot be read past its parent'
);

select throws_ok(
  $$ select * from observability_internal.cost_aggregates $$, '42501', null,
  'a materialized view cannot be read directly'
);

select is((select count(*) from observability_internal.usage_by_hour), 0::bigint, 'a member sees no rollup of all users');

select pg_temp.sign_in('authenticated', 'user_ana');

select is((select count(*) from observability_internal.ai_usage_metrics), 2::bigint, 'an analyst reads all rows');

select is(
  observability.get_overview('2026-05-04', '2026-05-05') #>> '{totals,cost}', '0.003375',
  'an analyst''s overview sums all calls'
);

select throws_ok(
  $$ select observability.add_member('user_a', 'analyst') $$, '42501', null, 'an analyst cannot add members'
);

select pg_temp.sign_in('authenticated', 'user_ops');

select is(observability.add_member('user_c', 'analyst') ->> 'added_by', 'user_ops', 'ops add members, and it is noted who did');

select throws_ok(
  $$ select observability.remove_member('user_ops') $$, '22023', 'the last ops member cannot be removed in the app',
  'the last ops member cannot lock everybody out'
);

select throws_ok($$ delete from observability_internal.ai_usage_metrics $$, '42501', null, 'nobody signed in can delete usage');

select pg_temp.sign_in('authenticated', '');

select throws_ok(
  $$ select observability.get_overview('2026-05-04', '2026-05-05') $$, '42501', null, 'a token without a subject is a stranger'
);

select pg_temp.sign_in('anon', null);

select throws_ok($$ select * from observability_internal.ai_usage_metrics $$, '42501', null, 'anon reads no table');

select throws_ok(
  $$ select observability.get_overview('2026-05-04', '2026-05-05') $$, '42501', null, 'anon calls no function'
);

select pg_temp.sign_in('treering_writer', null);

select is(
  observability.record_usage(
    '[{"event_id": "0199d0a0-0000-7000-8000-000000000009", "created_at": "2026-05-04 10:00:00+00", "user_id": "user_a", "model": "gpt-4o"}]'
  ),
  1,
  'an insert-only key stores a call'
);

select throws_ok($$ select * from observability_internal.ai_usage_metrics $$, '42501', null, 'an insert-only key reads no table');

select throws_ok(
  $$ select observability.get_overview('2026-05-04', '2026-05-05') $$, '42501', null, 'an insert-only key reads no page'
);

select throws_ok($$ select observability.roll_up() $$, '42501', null, 'an insert-only key runs no job');

select * from finish();

rollback;
