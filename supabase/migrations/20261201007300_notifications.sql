-- The outbox: workers claim due messages, send them and report how it went.
-- Locks: none to apply, it only creates. At run time row locks on the messages taken; it waits for nobody.

create function observability_internal.max_notification_attempts() returns integer
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select 15;
$$;

comment on function observability_internal.max_notification_attempts is 'Attempts before a message is dead: about five hours with the delays below.';
revoke execute on function observability_internal.max_notification_attempts from public;
grant execute on function observability_internal.max_notification_attempts to service_role;

-- Waits of 5 s, 10 s, 20 s … at most an hour; the upper half of each is random, so that retries do not come in step.
create function observability_internal.notification_delay(attempts integer) returns interval
language sql
volatile
security invoker
set search_path = ''
as $$
  select make_interval(secs => least(5 * 2 ^ (attempts - 1), 3600) * (0.5 + random() / 2));
$$;

comment on function observability_internal.notification_delay is 'How long to wait after that number of failed attempts.';
revoke execute on function observability_internal.notification_delay from public;
grant execute on function observability_internal.notification_delay to service_role;

create function observability_internal.has_vault() returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select exists (
    select from pg_catalog.pg_class as c
    inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
    where n.nspname = 'vault' and c.relname = 'decrypted_secrets'
  );
$$;

comment on function observability_internal.has_vault is 'Whether Supabase Vault is present.';
revoke execute on function observability_internal.has_vault from public;
grant execute on function observability_internal.has_vault to authenticated, service_role;

-- Security definer: the worker's role may not read Vault everywhere; this gives it the channels' own secrets only.
create function observability_internal.read_channel_vault(vault_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_secret text;
begin
  if not observability_internal.has_vault() or not exists (
    select from observability_internal.channel_secrets as s where s.vault_id = read_channel_vault.vault_id
  ) then
    return null;
  end if;
  execute format('select s.decrypted_secret from %I.decrypted_secrets as s where s.id = $1', 'vault') into v_secret using vault_id;
  return v_secret::jsonb;
end;
$$;

comment on function observability_internal.read_channel_vault is 'Address and signing secret of a channel from Supabase Vault; null where there is none.';
revoke execute on function observability_internal.read_channel_vault from public;
grant execute on function observability_internal.read_channel_vault to service_role;

create function observability_internal.bury_notifications(as_of timestamptz) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  -- Messages that can never be sent are dead: their last lease expired, or their channel is deleted or disabled. What is
  -- about an alert whose beginning never got through is skipped: the channel would not know of what.
  with hopeless as (
    select
      n.notification_id,
      case
        when n.channel_id is null then 'the channel was deleted'
        when not c.is_enabled then 'the channel is switched off'
        when s.channel_id is null then 'the channel has no address'
        when n.attempts >= observability_internal.max_notification_attempts() then 'the worker vanished during the last attempt'
      end as reason
    from observability_internal.notifications as n
    left join observability_internal.notification_channels as c on n.channel_id = c.channel_id
    left join observability_internal.channel_secrets as s on n.channel_id = s.channel_id
    where n.state = 'pending' and coalesce(n.leased_until, '-infinity') <= as_of
      and (
        c.channel_id is null or not c.is_enabled or s.channel_id is null
        or n.attempts >= observability_internal.max_notification_attempts()
        or n.event in ('resolved', 'acknowledged') and not exists (
          select from observability_internal.notifications as heard
          where heard.bundle = n.bundle and heard.channel_id = n.channel_id and heard.notification_id < n.notification_id
            and heard.state in ('pending', 'sent', 'folded')
        )
      )
    for update of n skip locked
  )
  update observability_internal.notifications as n
  set
    state = case when h.reason is null then 'skipped' else 'dead' end,
    last_error = coalesce(h.reason, 'the channel never heard that it fired'), leased_by = null, leased_until = null
  from hopeless as h
  where n.notification_id = h.notification_id;
$$;

comment on function observability_internal.bury_notifications is
'Marks as dead what can never be sent, with the reason, and as skipped what a channel would not understand.';
revoke execute on function observability_internal.bury_notifications from public;
grant execute on function observability_internal.bury_notifications to service_role;

create function observability_internal.due_notifications(as_of timestamptz) returns setof bigint
language sql
stable
security invoker
set search_path = ''
as $$
  with due as materialized (
    select n.notification_id, n.channel_id, n.next_attempt_at, n.priority, n.event
    from observability_internal.notifications as n
    where n.state = 'pending' and n.next_attempt_at <= as_of and coalesce(n.leased_until, '-infinity') <= as_of
      -- A channel hears of an alert in the order in which it happened.
      and not exists (
        select from observability_internal.notifications as earlier
        where earlier.bundle = n.bundle and earlier.channel_id = n.channel_id
          and earlier.notification_id < n.notification_id and earlier.state = 'pending'
      )
      and not exists (
        select from observability_internal.channel_health as h where h.channel_id = n.channel_id and h.paused_until > as_of
      )
  ),
  spent as (
    select
      n.channel_id, n.priority, count(*) filter (where n.last_attempt_at > as_of - interval '1 minute') as in_minute,
      count(*) as in_hour
    from observability_internal.notifications as n
    where n.last_attempt_at > as_of - interval '1 hour' and n.channel_id in (select d.channel_id from due as d)
    group by n.channel_id, n.priority
  )
  -- Only the leader sends, so its own count is enough: two workers at once might pass the rate for a moment. Critical
  -- messages have a rate of their own, so that no storm of others uses it up, and no limit by the hour.
  select d.notification_id
  from (
    select
      due.*,
      row_number() over (partition by due.channel_id, due.priority order by due.next_attempt_at, due.notification_id) as place
    from due
  ) as d
  inner join observability_internal.notification_channels as c on d.channel_id = c.channel_id
  left join spent as s on d.channel_id = s.channel_id and d.priority = s.priority
  where d.place <= c.max_per_minute - coalesce(s.in_minute, 0)
    and (
      c.max_per_hour is null or d.priority = 0 or d.event in ('digest', 'test') or observability_internal.is_paging(c)
      or d.place < c.max_per_hour - coalesce(s.in_hour, 0)
    );
$$;

comment on function observability_internal.due_notifications is
'The messages that may leave now: in order for each alert and channel, and within the rates of the channel.';
revoke execute on function observability_internal.due_notifications from public;
grant execute on function observability_internal.due_notifications to service_role;

create function observability.claim_notifications(
  worker text, max_count integer default 20, lease_s integer default 60, as_of timestamptz default null,
  notification_ids jsonb default null, max_per_channel integer default 1000, under_way jsonb default '{}'
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(claim_notifications.as_of, clock_timestamp());
  v_claimed jsonb;
begin
  if coalesce(claim_notifications.worker, '') = '' then
    raise exception 'a worker has a name' using errcode = '22023';
  end if;
  if max_count is null or max_count not between 1 and 1000 or lease_s is null or lease_s not between 1 and 3600 then
    raise exception 'max_count is from 1 to 1000 and lease_s from 1 to 3600' using errcode = '22023';
  end if;

  perform observability_internal.bury_notifications(v_now);
  perform observability_internal.fold_notifications(v_now);
  with taken as (
    select n.notification_id
    from observability_internal.notifications as n
    where n.notification_id in (
        select p.notification_id
        from (
          select
            w.notification_id, w.channel_id,
            row_number() over (partition by w.channel_id order by w.priority, w.next_attempt_at, w.notification_id) as place
          from observability_internal.due_notifications(v_now) as d (notification_id)
          inner join observability_internal.notifications as w using (notification_id)
          where claim_notifications.notification_ids is null or claim_notifications.notification_ids @> to_jsonb(w.notification_id)
        ) as p
        where p.place <= max_per_channel - coalesce((under_way ->> p.channel_id::text)::integer, 0)
      )
      and n.state = 'pending' and coalesce(n.leased_until, '-infinity') <= v_now
    order by n.priority, n.next_attempt_at, n.notification_id
    limit claim_notifications.max_count
    for update of n skip locked
  ),
  claimed as (
    update observability_internal.notifications as n
    set
      attempts = n.attempts + 1, leased_by = claim_notifications.worker, last_attempt_at = v_now,
      first_attempt_at = coalesce(n.first_attempt_at, v_now),
      leased_until = v_now + make_interval(secs => claim_notifications.lease_s)
    from taken as t
    where n.notification_id = t.notification_id
    returning n.*
  )
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'notification_id', n.notification_id, 'idempotency_key', n.idempotency_key, 'attempt', n.attempts,
          'event', n.event, 'channel_id', n.channel_id, 'channel_name', n.channel_name, 'kind', c.kind,
          'taken', n.taken, 'payload', n.payload, 'links', observability_internal.message_links(n), 'sealed', s.sealed,
          'target_url', coalesce(s.target_url, v.secret ->> 'target_url'),
          'signing_secret', coalesce(s.signing_secret, v.secret ->> 'signing_secret')
        )
        order by n.priority, n.next_attempt_at, n.notification_id
      ), '[]'
    )
  into v_claimed
  from claimed as n
  inner join observability_internal.notification_channels as c on n.channel_id = c.channel_id
  inner join observability_internal.channel_secrets as s on n.channel_id = s.channel_id
  cross join lateral (select observability_internal.read_channel_vault(s.vault_id) as secret) as v;
  return v_claimed;
end;
$$;

comment on function observability.claim_notifications is
'Leases due messages to a worker at each channel''s rate, critical ones first; only those of notification_ids where they are '
'given, and at most max_per_channel of a channel less those under way (channel_id to number): [{notification_id, '
'idempotency_key, attempt, event, channel_id, channel_name, kind, taken, payload, links, sealed, target_url, signing_secret}].';
revoke execute on function observability.claim_notifications from public;
grant execute on function observability.claim_notifications to service_role;

create function observability_internal.note_channel_health(
  message observability_internal.notifications, ok boolean, retry_after_s numeric, as_of timestamptz
) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.channel_health as h (channel_id, paused_until, failing_since, last_error)
  select
    message.channel_id,
    case when retry_after_s is not null then as_of + make_interval(secs => least(retry_after_s, 21600)::double precision) end,
    case when not ok then as_of end, case when not ok then message.last_error end
  where message.channel_id is not null
  on conflict (channel_id) do update
  set
    paused_until = excluded.paused_until,
    failing_since = case when excluded.failing_since is not null then coalesce(h.failing_since, excluded.failing_since) end,
    last_error = excluded.last_error
  where (h.paused_until, h.failing_since is null, h.last_error)
    is distinct from (excluded.paused_until, excluded.failing_since is null, excluded.last_error);
$$;

comment on function observability_internal.note_channel_health is
'Notes whether a channel takes messages, and until when its service has asked to wait.';
revoke execute on function observability_internal.note_channel_health from public;
grant execute on function observability_internal.note_channel_health to service_role;

create function observability_internal.is_hopeless(
  message observability_internal.notifications, is_final boolean, is_refused boolean, as_of timestamptz
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  -- A key that was rotated or an address that moved comes back within the hour, or not.
  select coalesce(is_final, false) or message.attempts >= observability_internal.max_notification_attempts()
    or coalesce(is_refused, false) and as_of - message.first_attempt_at >= interval '1 hour';
$$;

comment on function observability_internal.is_hopeless is 'Whether a message that failed is dead.';
revoke execute on function observability_internal.is_hopeless from public;
grant execute on function observability_internal.is_hopeless to service_role;

create function observability.finish_notification(
  notification_id bigint, worker text, ok boolean, error text default null, is_final boolean default false,
  as_of timestamptz default null, is_refused boolean default false, retry_after_s numeric default null, taken jsonb default '[]'
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(finish_notification.as_of, clock_timestamp());
  v_message observability_internal.notifications;
  v_is_dead boolean;
begin
  if finish_notification.ok is null then
    raise exception 'ok is true or false' using errcode = '22023';
  end if;
  select * into v_message
  from observability_internal.notifications as n
  where n.notification_id = finish_notification.notification_id
  for update;
  if not found then
    raise exception 'there is no message %', finish_notification.notification_id using errcode = '22023';
  end if;
  -- A delivered message stays delivered, even past the lease. A failure counts only for the lease holder.
  if v_message.state = 'sent' or not ok and v_message.leased_by is distinct from finish_notification.worker then
    return jsonb_build_object('state', v_message.state, 'is_stale', true);
  end if;
  v_is_dead := not ok and observability_internal.is_hopeless(v_message, is_final, is_refused, v_now);
  update observability_internal.notifications as n
  set
    state = case when ok then 'sent' when v_is_dead then 'dead' else 'pending' end,
    sent_at = case when ok then v_now end,
    last_error = case when not ok then left(coalesce(error, 'unknown'), 500) end,
    next_attempt_at = case
      when ok or v_is_dead then n.next_attempt_at
      when is_refused then v_now + least(
        observability_internal.notification_delay(n.attempts), greatest(n.first_attempt_at + interval '1 hour' - v_now, interval '1 second')
      )
      else v_now + greatest(
        observability_internal.notification_delay(n.attempts),
        make_interval(secs => least(coalesce(retry_after_s, 0), 21600)::double precision)
      )
    end,
    leased_by = null, leased_until = null,
    taken = case
      when ok then n.taken
      else array(select distinct t.key from (select unnest(n.taken) union all select jsonb_array_elements_text(finish_notification.taken)) as t (key))
    end
  where n.notification_id = v_message.notification_id
  returning n.* into v_message;
  perform observability_internal.note_channel_health(v_message, ok, case when not ok then retry_after_s end, v_now);
  return jsonb_build_object(
    'state', v_message.state, 'attempts', v_message.attempts, 'is_stale', false,
    'next_attempt_at', case when v_message.state = 'pending' then v_message.next_attempt_at end
  );
end;
$$;

comment on function observability.finish_notification is
'Records how an attempt ended: sent; pending again after a growing delay, at least retry_after_s; or dead, at once where the '
'failure is final, after an hour where the receiver does not know address or key (is_refused). taken: keys of the targets '
'that need no further attempt.';
revoke execute on function observability.finish_notification from public;
grant execute on function observability.finish_notification to service_role;
