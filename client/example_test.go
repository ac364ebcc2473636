package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"

	"crier/client"
)

func Example() {
	c, err := client.New("http://127.0.0.1:8080", client.WithToken(os.Getenv("CRIER_TOKEN")))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for msg, err := range c.Subscribe(ctx, client.SubscribeOptions{Topics: []string{"news/**"}}) {
		if err != nil {
			log.Fatal(err) // also a gap
		}
		fmt.Printf("%s: %s\n", msg.Topic, msg.Data)
	}
}

func ExampleClient_Publish() {
	c, err := client.New("http://127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := c.Publish(context.Background(), client.Draft{Topic: "news/today", Data: []byte("hello")})
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Status == 403 {
		log.Fatalf("this key may not publish here: %s", p.Detail)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.ID, receipt.Durability)
}

func ExampleClient_PublishBatch() {
	c, err := client.New("http://127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	receipts, err := c.PublishBatch(context.Background(), client.Batch{
		Topic:    "orders/new",
		Messages: []json.RawMessage{[]byte(`{"order":1}`), []byte(`{"order":2}`)},
	})
	if err != nil {
		log.Fatal(err) // then none of them was stored
	}
	fmt.Println(len(receipts))
}

// A program that keeps its cursor where it keeps its results sees each message
// once also over its own restarts, and decides itself what a gap means.
func ExampleClient_Subscribe_cursor() {
	c, err := client.New("http://127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	cursor := load()
	for msg, err := range c.Subscribe(context.Background(), client.SubscribeOptions{
		Domain: "shop", Topics: []string{"orders/*", "returns/*"}, Since: cursor,
	}) {
		if gap, ok := errors.AsType[*client.Gap](err); ok {
			log.Printf("start anew from the database: %v", gap)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		store(msg.Data, msg.ID)
	}
}

func ExampleClient_History() {
	c, err := client.New("http://127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	for msg, err := range c.History(context.Background(), client.PageOptions{Topics: []string{"news/**"}, Since: "last:10"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s\n", msg.Time.Format("15:04:05"), msg.Data)
	}
}

func load() string         { return "earliest" }
func store([]byte, string) {}
